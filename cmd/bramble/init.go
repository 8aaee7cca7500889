package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"bramble/images/cardinit"
	"bramble/node/config"
	"bramble/node/console"
)

const updateKeyFile = "update.key" // private update key beside the configuration file

func initCommand() command {
	return command{
		name:  "init",
		short: "write a first bramble.toml, with keys and a password",
		long: `
Write a commented configuration file with a new rack key and console password,
and beside it update.key, which signs updates of cards. You alone can read both.`,
		examples: `
  bramble init --out shop/bramble.toml`,
		flags: func(fs *flagSet) runner {
			out := fs.String("out", "bramble.toml", "`FILE` to write")
			return func(_ context.Context, w world, _ []string) error {
				return writeFirstConfig(w, *out)
			}
		},
	}
}

func writeFirstConfig(w world, out string) error {
	cfg := config.Default()
	private, public := cardinit.NewUpdateKey()
	cfg.Rack.Key, cfg.Console.Password, cfg.Update.Keys = config.NewRackKey(), console.NewPassword(), []string{public}
	only := func(table, key string) bool {
		return strings.Contains(" rack.key rack.expected_boards console.password update.keys ", " "+table+"."+key+" ")
	}
	text := append([]byte("# The settings of a rack, the same on all its boards. Keep them secret.\n"+
		"# \"bramble config\" prints all the others.\n\n"), cfg.TOML(config.PrintOptions{Comments: true, Secrets: true, Only: only})...)
	if err := writeSecret(out, text); err != nil {
		return err
	}
	keyFile := filepath.Join(filepath.Dir(out), updateKeyFile)
	if err := writeSecret(keyFile, private); err != nil {
		return errors.Join(err, os.Remove(out))
	}
	_, err := fmt.Fprintf(w.out, `%s has the settings and the rack key.
%s signs updates of cards.
You alone can read them: keep a copy of both in a safe place.

The console's password, for the user bramble, is %s

Set [rack] expected_boards in it to the number of your boards: with %d there, no
orders are accepted until %[4]d boards run.

Next, run a board here:  bramble node --config %[1]s
or make cards for Pis:   bramble image --config %[1]s
`, out, keyFile, cfg.Console.Password, cfg.Rack.ExpectedBoards)
	return err
}

// writeSecret writes a new file that its owner alone can read, in a folder that it makes if it is missing.
func writeSecret(file string, content []byte) error {
	err := os.MkdirAll(filepath.Dir(file), 0o700)
	if err != nil {
		return fmt.Errorf("the folder of a new file for a secret: %w", err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("writing a new file for a secret: %w; move an old one away, or name another", err)
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

func keyCommand() command {
	return command{
		name:  "key",
		short: "make a new rack key, or a key for updates",
		long: `
Print a new rack key as a line to paste under [rack] in every board's
bramble.toml. Anything that has the key can join the rack: keep it as safe as a
password.

With --update the line is a new key for updates, to paste under [update]. Its
private half, with which "bramble image" signs, goes into a file for you alone.`,
		examples: `
  bramble key --update update.key`,
		flags: func(fs *flagSet) runner {
			update := fs.String("update", "", "make an update key, its private half in this new `FILE`")
			return func(_ context.Context, w world, _ []string) error {
				if *update != "" {
					private, public := cardinit.NewUpdateKey()
					if err := writeSecret(*update, private); err != nil {
						return err
					}
					_, err := fmt.Fprintf(w.out, "keys = [%q]\n", public)
					return err
				}
				_, err := fmt.Fprintf(w.out, "key = %q\n", config.NewRackKey().Reveal())
				return err
			}
		},
	}
}

func configCommand() command {
	return command{
		name:  "config",
		short: "print the configuration in effect, with comments",
		long: `
Print every setting in effect, with its meaning and the reason for its default.
Without --config these are the defaults. The output is a configuration file
itself, except that secrets are left out unless --show-secrets is given.`,
		examples: `
  bramble config > bramble.toml
  bramble config --config bramble.toml
  bramble config --config bramble.toml --card 1a2b`,
		flags: func(fs *flagSet) runner {
			file := fs.String("config", "", "the board's configuration `FILE`")
			secrets := fs.Bool("show-secrets", false, "print the rack key and the passwords too")
			card := fs.String("card", "", "print the settings of the board with this `SERIAL` number; its last digits suffice")
			markdown := fs.Bool("markdown", false, "print the reference of all keys as Markdown instead")
			return func(_ context.Context, w world, _ []string) error {
				if *markdown {
					_, err := io.WriteString(w.out, config.Reference())
					return err
				}
				cfg := config.Default()
				if *file != "" {
					// A file without a rack key can be printed, though no board can use it.
					doc, err := config.LoadFile(*file)
					if err != nil {
						return err
					}
					cfg = doc.ForCard(*card).Config
				}
				_, err := w.out.Write(cfg.TOML(config.PrintOptions{Comments: true, Secrets: *secrets}))
				return err
			}
		},
	}
}
