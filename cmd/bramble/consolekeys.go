package main

import (
	"context"

	"bramble/node/certs"
	"bramble/node/config"
)

func consoleCommand() command {
	return command{
		name:  "console",
		args:  "ACTION",
		short: "print the CA of the rack's consoles",
		long: `
Print what those who use the consoles of a rack need:

  certificate   print the CA that has signed the certificates of all boards'
                consoles, from the rack key in --config. A computer that has it
                (bramble --ca FILE, Prometheus' ca_file, a browser's settings)
                recognises the rack without its key. It is no secret, and can
                sign only .local names and private addresses`,
		examples: `
  bramble console certificate --config bramble.toml > rack-ca.pem`,
		flags: func(fs *flagSet) runner {
			file := fs.String("config", "bramble.toml", "certificate: the configuration `FILE` with the rack key")
			return func(_ context.Context, w world, args []string) error {
				if _, _, err := chooseAction(args, "certificate", map[string]int{"certificate": 0}); err != nil {
					return err
				}
				cfg, err := config.Load(*file)
				if err != nil {
					return err
				}
				ca, err := certs.NewConsoleCA(cfg.Rack.Key.Bytes())
				if err != nil {
					return err
				}
				_, err = w.out.Write(ca.PEM())
				return err
			}
		},
	}
}
