package main

import (
	"cmp"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"bramble/node"
	"bramble/node/certs"
	"bramble/node/config"
	"bramble/node/console"
	"bramble/node/console/client"
)

// passwordVariable is the environment variable with the console's password: every
// user of the machine could see an argument.
const passwordVariable = "BRAMBLE_CONSOLE_PASSWORD"

// defaultConsole is the default console of both a lab and a board.
const defaultConsole = "http://127.0.0.1:8080"

// consoleUser calls use with a client of the console that a command's flags name.
type consoleUser func(w world, use func(*client.Client) error) error

// consoleFlags name a console, an account there, and the rack that it must be of.
type consoleFlags struct{ address, file, ca, account string }

// addConsoleFlags declares the flags that name a console.
func addConsoleFlags(fs *flagSet) consoleUser {
	var f consoleFlags
	fs.StringVar(&f.address, "console", "", "`URL` of the console of the lab or of any board (default "+defaultConsole+")")
	fs.StringVar(&f.file, "config", "", "read the console's address, its password and the rack key, by which consoles are recognised, from this configuration `FILE`; "+
		"the password in "+passwordVariable+" has priority")
	fs.StringVar(&f.ca, "ca", "", "recognise consoles by the CA in this PEM `FILE` instead: what \"bramble console certificate\" prints")
	fs.StringVar(&f.account, "account", "", "`NAME` of the account that the password in "+passwordVariable+" is of (default "+console.UserName+")")
	return func(w world, use func(*client.Client) error) error {
		base, access, err := f.choose(w)
		if err != nil {
			return err
		}
		c, err := client.New(base, access)
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

// readSecret reads the owner's file of a key or passphrase, and refuses one that everybody can read.
func readSecret(w world, file string) ([]byte, error) {
	text, isOpen := config.DescribeExposure(file)
	if isOpen {
		return nil, errors.New("a key that others know protects nothing: " + text)
	}
	if text != "" {
		printNote(w, "WARNING: "+text)
	}
	return os.ReadFile(file)
}

// choose returns the console that the flags name. One on this machine is reached by its
// unix socket, if that can be opened, which needs no password.
func (f *consoleFlags) choose(w world) (base string, access client.Access, err error) {
	base, access.User, access.Secret = f.address, f.account, w.getenv(passwordVariable)
	folder, local := config.Default().Orders.Directory, defaultConsole
	if f.file != "" {
		doc, err := config.LoadFile(f.file)
		if err != nil {
			return "", access, err
		}
		c := doc.Config
		warnExposed(w, c, f.file)
		folder, local = c.Orders.Directory, localURL(c.Console.Listen)
		own := secretOf(c.Console, f.account)
		if access.Secret == "" && !console.IsHash(own) {
			access.Secret = own
		}
		if !c.Rack.Key.IsZero() {
			key, err := console.DeviceKey(c.Rack.Key.Bytes())
			if err != nil {
				return "", access, err
			}
			access.Device = console.NewDevice(key, console.Account{Name: cmp.Or(f.account, console.UserName), Secret: own}, time.Now())
			if access.Rack, err = poolOf(append(c.Rack.OldKeys, c.Rack.Key)); err != nil {
				return "", access, err
			}
		}
	}
	if f.ca != "" {
		data, err := os.ReadFile(f.ca)
		if access.Rack = x509.NewCertPool(); err != nil || !access.Rack.AppendCertsFromPEM(data) {
			return "", access, usagef("--ca: %s is not a PEM file that can be read; \"bramble console certificate\" prints one", f.ca)
		}
	}
	if base != "" {
		return base, access, nil
	}
	if socket := node.ConsoleSocket(folder); f.account == "" && isOpen(socket) {
		access.Socket = socket
	}
	return local, access, nil
}

// poolOf returns the CAs of rack keys.
func poolOf(keys []config.RackKey) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for _, key := range keys {
		ca, err := certs.NewConsoleCA(key.Bytes())
		if err != nil {
			return nil, err
		}
		ca.AddTo(pool)
	}
	return pool, nil
}

// secretOf returns what a board's file has as an account's password.
func secretOf(c config.ConsoleSettings, account string) string {
	for _, a := range c.Accounts {
		if a.Name == account {
			return a.Password
		}
	}
	return c.Password
}

// isOpen reports whether a program listens at a socket that this user may open.
func isOpen(socket string) bool {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// localURL returns the URL of a console's listener for clients on the same machine.
func localURL(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return defaultConsole
	}
	ip, err := netip.ParseAddr(host)
	if err == nil && ip.IsLoopback() || host == "localhost" {
		return "http://" + net.JoinHostPort(host, port)
	}
	if host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "https://" + net.JoinHostPort(host, port)
}

// printJSON prints v as one line of JSON.
func printJSON(w world, v any) error { return json.NewEncoder(w.out).Encode(v) }
