package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"

	"bramble/node/config"
	"bramble/node/console/client"
)

// passwordVariable is the environment variable with the console's password: every
// user of the machine could see an argument.
const passwordVariable = "BRAMBLE_CONSOLE_PASSWORD"

// defaultConsole is the default console of both a lab and a board.
const defaultConsole = "http://127.0.0.1:8080"

// consoleUser calls use with a client of the console that a command's flags name.
type consoleUser func(w world, use func(*client.Client) error) error

// addConsoleFlags declares the flags that name a console.
func addConsoleFlags(fs *flagSet) consoleUser {
	address := fs.String("console", "", "`URL` of the console of the lab or of any board (default "+defaultConsole+")")
	file := fs.String("config", "", "read the console's address and password from this configuration `FILE`; "+
		"the password in "+passwordVariable+" has priority")
	return func(w world, use func(*client.Client) error) error {
		base, password := defaultConsole, ""
		if *file != "" {
			doc, err := config.LoadFile(*file)
			if err != nil {
				return err
			}
			warnExposed(w, doc.Config, *file)
			base, password = localURL(doc.Config.Console.Listen), doc.Config.Console.Password
		}
		if *address != "" {
			base = *address
		}
		if p := w.getenv(passwordVariable); p != "" {
			password = p
		}
		c, err := client.New(base, password)
		if err != nil {
			return usagef("--console: %v", err)
		}
		defer c.Close()
		return use(c)
	}
}

// warnExposed says which files of a board other users can read.
func warnExposed(w world, cfg *config.Config, file string) {
	exposed, _ := cfg.FindExposed(file)
	for _, text := range exposed {
		printNote(w, "WARNING: "+text)
	}
}

// requestForBoard sends a request about the one board that args name, and prints
// text, a format for the board's name.
func requestForBoard(w world, connect consoleUser, args []string, text string, send func(c *client.Client, board string) error) error {
	if len(args) != 1 {
		return usagef("name one board; \"bramble status\" lists them")
	}
	return connect(w, func(c *client.Client) error {
		if err := send(c, args[0]); err != nil {
			return err
		}
		fmt.Fprintf(w.out, text, args[0])
		return nil
	})
}

// localURL returns the URL of a listener for clients on the same machine.
func localURL(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return defaultConsole
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// printJSON prints v as one line of JSON.
func printJSON(w world, v any) error { return json.NewEncoder(w.out).Encode(v) }
