package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"strings"

	"bramble/node/certs"
	"bramble/node/config"
	"bramble/node/console"
)

func consoleCommand() command {
	return command{
		name:  "console",
		args:  "ACTION",
		short: "print the console's CA, hash a password, make a token",
		long: `
Print what the consoles of a rack, and those who use them, need:

  certificate   print the CA that has signed the certificates of all boards'
                consoles, from the rack key in --config. A computer that has it
                (bramble --ca FILE, Prometheus' ca_file, a browser's settings)
                recognises the rack without its key. It is no secret, and can
                sign only .local names and private addresses
  password      read a password from standard input, where it is shown as you
                type it, and print its hash, which bramble.toml can have
                instead
  token         make a token for a program, and print it with its hash for
                [[console.accounts]]; the program sends it as
                "Authorization: Bearer TOKEN"`,
		examples: `
  bramble console certificate --config bramble.toml > rack-ca.pem
  bramble console password < password.txt
  bramble console token`,
		flags: func(fs *flagSet) runner {
			file := fs.String("config", "bramble.toml", "certificate: the configuration `FILE` with the rack key")
			return func(_ context.Context, w world, args []string) error {
				action, _, err := fs.chooseAction(args, "certificate, password or token", map[string]int{"certificate": 0, "password": 0, "token": 0})
				if err != nil {
					return err
				}
				switch action {
				case "password":
					text, _ := bufio.NewReader(w.in).ReadString('\n')
					if text = strings.TrimRight(text, "\r\n"); text == "" || config.CheckPassword(config.Default(), text) != "" {
						return usagef("type a password, or redirect a file with one to standard input: %s", cmp.Or(config.CheckPassword(config.Default(), text), "there is none"))
					}
					fmt.Fprintf(w.out, "password = %q\n", console.HashPassword(text))
					printNote(w, "Put this line under [console], or under its [[console.accounts]], in bramble.toml on all boards.")
					if !console.IsGenerated(text) {
						printNote(w, "A guesser at its owner's address can slow this password down, but not one of \"bramble console token\".")
					}
				case "token":
					token := console.NewToken()
					fmt.Fprintf(w.out, "%s\n\n[[console.accounts]]\nname = \"program\"\nrole = \"look\"\npassword = %q\n", token, console.HashToken(token))
				default:
					cfg, err := config.Load(*file)
					if err != nil {
						return err
					}
					ca, err := certs.NewConsoleCA(cfg.Rack.Key.Bytes())
					if err == nil {
						_, err = w.out.Write(ca.PEM())
					}
					return err
				}
				return nil
			}
		},
	}
}
