package main

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"bramble/node"
	"bramble/node/certs"
	"bramble/node/config"
)

// Another user of this machine may listen where a console usually is: no password goes there.
func TestPasswordsAreNotSentToStrangers(t *testing.T) {
	t.Chdir(t.TempDir())
	key := config.NewRackKey()
	ca, err := certs.NewConsoleCA(key.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"ca.pem":        string(ca.PEM()),
		"bramble.toml":  "[console]\npassword = \"of the file\"\n[rack]\nkey = \"" + key.Reveal() + "\"\n[[console.accounts]]\nname = \"till\"\nrole = \"shop\"\npassword = \"of the till\"\n",
		"loopback.toml": "[console]\nlisten = \"127.0.0.1:9\"\npassword = \"of the file\"\n[rack]\nkey = \"" + key.Reveal() + "\"\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		flags  consoleFlags
		env    string
		base   string
		secret string
		proven bool // what answers must be of the rack
	}{
		{consoleFlags{}, "mine", defaultConsole, "", false},
		{consoleFlags{address: defaultConsole}, "mine", defaultConsole, "mine", false},
		{consoleFlags{ca: "ca.pem"}, "mine", boardConsole, "mine", true},
		{consoleFlags{file: "bramble.toml"}, "", boardConsole, "of the file", true},
		{consoleFlags{file: "bramble.toml"}, "mine", boardConsole, "mine", true},
		{consoleFlags{file: "bramble.toml", account: "till"}, "", boardConsole, "of the till", true},
		{consoleFlags{file: "loopback.toml"}, "mine", "http://127.0.0.1:9", "", true},
		{consoleFlags{file: "loopback.toml", address: "http://127.0.0.1:9"}, "", "http://127.0.0.1:9", "of the file", true},
		{consoleFlags{file: "bramble.toml", address: "https://[fe80::1%25eth0]:8080"}, "", "https://[fe80::1%25eth0]:8080", "of the file", true},
	} {
		base, access, err := c.flags.choose(world{getenv: func(string) string { return c.env }, err: os.Stderr})
		if err != nil || base != c.base || access.Secret != c.secret || (access.Rack != nil) != c.proven || access.Secret == "" && access.Device != "" {
			t.Errorf("%+v: %s with %q, proven %t, %v", c.flags, base, access.Secret, access.Rack != nil, err)
		}
	}
	for _, account := range []string{"till", "nobody"} {
		flags := []string{"status", "--account", account}
		if account == "nobody" {
			flags = append(flags, "--config", "bramble.toml")
		}
		if code, _, text := bramble(t, nil, flags...); code != exitUsage || !strings.Contains(text, "set BRAMBLE_CONSOLE_PASSWORD to the password of "+account) {
			t.Errorf("%s without a password: exit %d, %s", account, code, text)
		}
	}
}

// Commands in the folder of a board talk to that board, or say why not.
func TestSocketOfABoard(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it has no unix socket")
	}
	dir, err := os.MkdirTemp("", "") // its path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := node.ConsoleSocket(dir)
	if got, err := findSocket(socket, false); got != "" || err != nil {
		t.Errorf("without a socket: %q, %v", got, err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if got, err := findSocket(socket, false); got != socket || err != nil {
		t.Errorf("a live socket: %q, %v", got, err)
	}
	l.Close()
	for _, hasOther := range []bool{false, true} {
		if got, err := findSocket(socket, hasOther); got != "" || err == nil || !strings.Contains(err.Error(), "does not run") {
			t.Errorf("a dead socket: %q, %v", got, err)
		}
	}
	if os.Getuid() == 0 {
		t.Log("root may open everything: not tested as another user")
		return
	}
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Chmod(dir, 0o700) }()
	if got, err := findSocket(filepath.Clean(socket), false); got != "" || err == nil || !strings.Contains(err.Error(), "board's own user") {
		t.Errorf("another user's socket: %q, %v", got, err)
	}
	if got, err := findSocket(socket, true); got != "" || err != nil {
		t.Errorf("another user's socket, with a password and the rack's CA: %q, %v", got, err)
	}
}
