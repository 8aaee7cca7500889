package main

import (
	"fmt"
	"net"
	"net/netip"

	"bramble/node/config"
	"bramble/node/console/client"
)

// passwordVariable is the environment variable with the console's password:
// an argument would be seen by everybody on the machine.
const passwordVariable = "BRAMBLE_CONSOLE_PASSWORD"

// defaultConsole is where both a lab and a board have their console unless
// they are told otherwise.
const defaultConsole = "http://127.0.0.1:8080"

// addConsoleFlags declares which console to ask and returns what makes its client.
func addConsoleFlags(fs *flagSet) func(w world) (*client.Client, error) {
	address := fs.String("console", "", "`URL` of the console of a lab or of any board (default "+defaultConsole+")")
	file := fs.String("config", "", "the board's `FILE`, for the address of its console and its password; "+
		"a password in "+passwordVariable+" goes before it")
	return func(w world) (*client.Client, error) {
		base, password := defaultConsole, ""
		if *file != "" {
			doc, err := config.LoadFile(*file)
			if err != nil {
				return nil, err
			}
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
			return nil, usagef("--console: %v", err)
		}
		return c, nil
	}
}

// requestForBoard asks a console for something about the one board that is named, and
// says, in a text with a verb for the name, that it is being done.
func requestForBoard(w world, connect func(world) (*client.Client, error), args []string, text string, ask func(c *client.Client, board string) error) error {
	if len(args) != 1 {
		return usagef("name one board; bramble status lists them")
	}
	c, err := connect(w)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := ask(c, args[0]); err != nil {
		return err
	}
	fmt.Fprintf(w.out, text, args[0])
	return nil
}

// localURL is how a listener is reached from its own machine.
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
