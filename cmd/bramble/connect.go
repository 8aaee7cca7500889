package main

import (
	"cmp"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
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

// The default consoles of a lab, and of a board of a known rack.
const (
	defaultConsole = "http://127.0.0.1:8080"
	boardConsole   = "https://127.0.0.1:8080"
)

// consoleUser calls use with a client of the console that a command's flags name.
type consoleUser func(w world, use func(*client.Client) error) error

// consoleFlags name a console, an account there, and the rack that it must be of.
type consoleFlags struct{ address, file, ca, account string }

func addConsoleFlags(fs *flagSet) consoleUser {
	var f consoleFlags
	fs.StringVar(&f.address, "console", "", "`URL` of the console of the lab or of any board (default "+defaultConsole+", with --ca "+boardConsole+")")
	fs.StringVar(&f.file, "config", "", "read the console's address, its password and the rack key, by which consoles are recognised, from this configuration `FILE`; "+
		"the password in "+passwordVariable+" has priority")
	fs.StringVar(&f.ca, "ca", "", "recognise consoles by the CA in this PEM `FILE` instead: what \"bramble console certificate\" prints")
	fs.StringVar(&f.account, "account", "", "`NAME` of the account that the password in "+passwordVariable+" is of (default "+console.UserName+")")
	return func(w world, use func(*client.Client) error) error {
		if _, err := os.Stat(f.file + planSuffix); f.file != "" && err == nil {
			printNote(w, "WARNING: a change of the rack's secrets has not ended: boards may have those of "+f.file+planSuffix+" already, and accept the old key. Run \"bramble rekey\" again.")
		}
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
// unix socket, if there is one, which needs no password. Plain http gets a password only if
// somebody has typed its address: another user's program could listen there.
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
	if f.account != "" && access.Secret == "" {
		return "", access, usagef("--account: set %s to the password of %s", passwordVariable, f.account)
	}
	if base != "" {
		return base, access, nil
	}
	if f.ca != "" && f.file == "" {
		local = boardConsole
	}
	if f.account == "" {
		isProven := access.Secret != "" && access.Rack != nil && strings.HasPrefix(local, "https:")
		if access.Socket, err = findSocket(node.ConsoleSocket(folder), isProven); err != nil {
			return "", access, err
		}
	}
	if access.Socket == "" && strings.HasPrefix(local, "http:") {
		access.Secret, access.Device = "", ""
	}
	return local, access, nil
}

// findSocket returns the socket of the board whose folder this is; "" if there is none, or if
// another user's socket has an alternative.
func findSocket(socket string, hasOther bool) (string, error) {
	_, err := os.Lstat(socket)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	conn, err := net.Dial("unix", socket)
	switch {
	case err == nil:
		return socket, conn.Close()
	case errors.Is(err, fs.ErrPermission) && hasOther:
		return "", nil
	case errors.Is(err, fs.ErrPermission):
		return "", fmt.Errorf("%s is for the board's own user: run this as that user or with sudo, or name a console with --console", socket)
	}
	return "", fmt.Errorf("the board of this folder does not run: nobody listens at %s. Start it, or name another console with --console", socket)
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

// secretOf returns what a board's file has as an account's password; "" if it has none.
func secretOf(c config.ConsoleSettings, account string) string {
	for _, a := range c.Accounts {
		if a.Name == account {
			return a.Password
		}
	}
	if cmp.Or(account, console.UserName) == console.UserName {
		return c.Password
	}
	return ""
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

func printJSON(w world, v any) error { return json.NewEncoder(w.out).Encode(v) }
