package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
Make one image for all cards of a rack, from Debian's kernel, firmware and
busybox, and from Bramble, built from the source in the current folder.

It needs a Debian machine, but not root, and names the programs that it lacks.
Packages come from the mirror of the system's apt; each must have its pinned
hash. If there is a folder "shop" beside the configuration file, its catalogue,
pictures and templates are included. The catalogue is catalogue.toml in it, or
the file that [shop] catalogue = "shop/NAME.toml" names.

The image is for Models A, B, A+, B+ and Zero. With --later it is also for Pi 2,
3, 4 and Zero 2, and larger by their two kernels.

Write the same image onto any number of cards. A board makes its data partition
as large as its card, and is identified by its serial number. The same inputs
make the same image, byte for byte.

It is signed for "bramble update" with --update-key, or with update.key beside
the configuration file. You alone can read it, because it has the rack key.

With --relock it makes no image: it resolves the packages again from the
mirror's signed index and writes them to the file that --lock names.`,
		examples: `
  bramble image --config bramble.toml --out bramble.img
  bramble image --later --manifest manifest.txt
  bramble image --relock --lock packages.lock`,
		flags: func(fs *flagSet) runner {
			var o images.Options
			fs.StringVar(&o.Config, "config", "bramble.toml", "the rack's configuration `FILE`")
			fs.StringVar(&o.Out, "out", "bramble.img", "`FILE` to write the image to; an existing one is replaced at the end")
			fs.StringVar(&o.Shop, "shop", "", "`FOLDER` with catalogue, pictures and templates, instead of \"shop\" beside the configuration file")
			fs.StringVar(&o.Manifest, "manifest", "", "also write the list of the image's contents to this `FILE`")
			fs.StringVar(&o.Binary, "binary", "", "use this `FILE`, a Bramble built for ARMv6, instead of building one")
			fs.BoolVar(&o.Later, "later", false, "also support Pi 2, 3, 4 and Zero 2")
			fs.StringVar(&o.Mirror, "mirror", "", "`URL` of a Debian mirror, instead of apt's")
			fs.StringVar(&o.Packages, "packages", "", "`FOLDER` to cache packages in, instead of the user's cache")
			fs.StringVar(&o.Suite, "suite", "", "`NAME` of the Debian release; any but bookworm needs a --lock made for it")
			fs.StringVar(&o.Lock, "lock", "", "`FILE` of pinned packages, instead of the built-in one")
			key := fs.String("update-key", "", "`FILE` with the private key to sign with, instead of update.key beside the configuration file")
			fs.StringVar(&o.Released, "released", "", "`TIME` of the source, such as 2026-11-30T12:00:00Z, for a source without git: a board refuses older versions than its own")
			relock := fs.Bool("relock", false, "write the file of --lock instead of making an image")
			return func(ctx context.Context, w world, _ []string) error {
				o.Progress = func(line string) { fmt.Fprintln(w.err, line) }
				ctx, stop := untilSignal(ctx, func() { os.Exit(exitInterrupted) })
				defer stop()
				if *relock {
					if o.Lock == "" {
						return usagef("--relock needs --lock, the file to write")
					}
					return images.Relock(ctx, o.PackageSource, o.Progress)
				}
				return makeImage(ctx, w, o, *key)
			}
		},
	}
}

// makeImage checks the configuration as a board will, and makes the image.
func makeImage(ctx context.Context, w world, o images.Options, key string) error {
	cfg, err := config.Load(o.Config)
	if err != nil {
		return err
	}
	if o.Shop, err = shopFolder(o, cfg.Shop.Catalogue); err != nil {
		return err
	}
	warnExposed(w, cfg, o.Config)
	if o.UpdateKey, err = readSecret(w, cmp.Or(key, filepath.Join(filepath.Dir(o.Config), updateKeyFile))); key == "" && errors.Is(err, fs.ErrNotExist) {
		printNote(w, "There is no "+updateKeyFile+" to sign the image with: it suits new cards, and no board will accept it from \"bramble update\".")
	} else if s := new(cardinit.Statement); err != nil {
		return fmt.Errorf("the private update key: %w", err)
	} else if _, err := s.Sign(o.UpdateKey); err != nil {
		return err
	} else if s.Key != cardinit.ReleaseKey && !slices.Contains(cfg.Update.Keys, s.Key) {
		return fmt.Errorf("cards with this image would refuse an update by the key that signs it: write keys = [%q] under [update]", s.Key)
	}
	made, err := images.Build(ctx, o)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w.out, "%s: %d bytes, Bramble %s\nSHA-256 %s\n", o.Out, made.Bytes, made.Version, made.SHA256)
	return err
}

// ownCatalogue is the catalogue in a card's folder "shop" that is used if the
// configuration names none.
const ownCatalogue = "catalogue.toml"

// shopFolder returns the folder that goes onto the card as "shop", "" for none. The
// catalogue must be in it and valid: a mistake is better reported here than by a
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
		return "", errors.New(`[shop] catalogue names a file in the folder "shop", which is not beside the configuration file: name it with --shop`)
	}
	if _, err := shop.Load(filepath.Join(folder, inside)); err != nil {
		return "", err
	}
	return folder, nil
}
