package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"bramble/images"
	"bramble/images/cardinit"
	"bramble/node/config"
	"bramble/node/shop"
)

func imageCommand() command {
	return command{
		name:  "image",
		short: "make the card image that boots a first Raspberry Pi into Bramble",
		long: `
Makes one image for all cards of a rack, out of Debian's kernel, firmware and
busybox, and of Bramble, built from the source in the current folder:

  bramble image --config bramble.toml --out bramble.img

It needs a Debian machine, but no root, and says which programs it lacks.
Packages come from the mirror of the system's apt, each by its pinned hash. If
a folder "shop" is beside the file, its catalogue, pictures and templates go
along. The catalogue in it is catalogue.toml, or the one that [shop] catalogue =
"shop/NAME.toml" names.

It is for Models A, B, A+, B+ and Zero; with --later for Pi 2, 3, 4 and Zero 2
too, and larger by the room for their two kernels.

Write the image onto any number of cards as it is. A board makes its data
partition as large as its card, and is told apart by its serial number. The
same parts make the same image, byte by byte.

With --relock: resolves the packages anew from the mirror's signed index, and
writes them to the file that --lock names, instead of making an image.`,
		flags: func(fs *flagSet) runner {
			var o images.Options
			fs.StringVar(&o.Config, "config", "bramble.toml", "the rack's `FILE`")
			fs.StringVar(&o.Out, "out", "bramble.img", "the image's `FILE`; one that is there is replaced at the end")
			fs.StringVar(&o.Shop, "shop", "", "`FOLDER` of catalogue, pictures and templates, instead of the one beside the file")
			fs.StringVar(&o.Manifest, "manifest", "", "write the list of what is inside to this `FILE` too")
			fs.StringVar(&o.Binary, "binary", "", "take this `FILE`, a Bramble built for ARMv6, instead of building one")
			fs.BoolVar(&o.Later, "later", false, "make it for Pi 2, 3, 4 and Zero 2 too")
			fs.StringVar(&o.Mirror, "mirror", "", "`URL` of a Debian mirror, instead of apt's")
			fs.StringVar(&o.Packages, "packages", "", "`FOLDER` to look for packages in and to keep them, instead of the user's cache")
			fs.StringVar(&o.Suite, "suite", "", "Debian's release by `NAME`; needs a --lock made for it, unless it is bookworm")
			fs.StringVar(&o.Lock, "lock", "", "`FILE` of pinned packages, instead of the program's own")
			relock := fs.Bool("relock", false, "write the file of --lock anew instead of making an image")
			return func(ctx context.Context, w world, args []string) error {
				if err := refuseArgs(args); err != nil {
					return err
				}
				o.Progress = func(line string) { fmt.Fprintln(w.err, line) }
				ctx, stop := untilSignal(ctx, func() { os.Exit(exitInterrupted) })
				defer stop()
				if *relock {
					if o.Lock == "" {
						return usagef("--relock wants --lock, the file to write")
					}
					return images.Relock(ctx, o.PackageSource, o.Progress)
				}
				return makeImage(ctx, w, o)
			}
		},
	}
}

// makeImage checks the settings as the board will, and makes the image.
func makeImage(ctx context.Context, w world, o images.Options) error {
	cfg, err := config.Load(o.Config)
	if err != nil {
		return err
	}
	if o.Shop, err = shopFolder(o, cfg.Shop.Catalogue); err != nil {
		return err
	}
	o.DHCPScript = []byte(cardinit.DHCPScript())
	made, err := images.Build(ctx, o)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w.out, "%s: %d bytes, Bramble %s\nSHA-256 %s\n", o.Out, made.Bytes, made.Version, made.SHA256)
	return err
}

// ownCatalogue is the catalogue that a card takes from its folder "shop" if the
// settings name none.
const ownCatalogue = "catalogue.toml"

// shopFolder is the folder that goes onto the card as "shop", "" for none. The
// catalogue must be in it, and hold: a mistake is better told here than by a
// board without a screen.
func shopFolder(o images.Options, catalogue string) (string, error) {
	beside := filepath.Join(filepath.Dir(o.Config), "shop")
	folder := o.Shop
	if folder == "" {
		if info, err := os.Stat(beside); err == nil && info.IsDir() {
			folder = beside
		}
	} else if _, err := os.Stat(folder); err != nil {
		return "", fmt.Errorf("the shop's folder: %w", err)
	}
	if catalogue == "" {
		if folder != "" {
			if _, err := shop.Load(filepath.Join(folder, ownCatalogue)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return "", err
			}
		}
		return folder, nil
	}
	inside, err := filepath.Rel(beside, catalogue)
	if err != nil || strings.HasPrefix(inside, "..") {
		return "", fmt.Errorf(`[shop] catalogue is %s: on a card it is in the folder "shop"; put it there and write catalogue = "shop/%s"`,
			catalogue, filepath.Base(catalogue))
	}
	if folder == "" {
		return "", errors.New(`[shop] catalogue names a file in the folder "shop", which is not beside the settings: name it with --shop`)
	}
	if _, err := shop.Load(filepath.Join(folder, inside)); err != nil {
		return "", err
	}
	return folder, nil
}
