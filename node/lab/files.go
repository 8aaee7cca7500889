package lab

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"bramble/cluster/durable"
	"bramble/node/config"
	"bramble/node/console"
)

// Names in a lab's folder: the rack key, and for each board a folder with its
// configuration, its log and its ledger.
const (
	keyFile      = "rack.key"
	configFile   = "bramble.toml"
	logFile      = "log"
	ledgerFolder = "ledger"
)

// Only the owner may read the folder and files: they contain the rack key.
const (
	dirMode  = 0o700
	fileMode = 0o600
)

// loadRackKey returns the key of the template if it has one, else the key in the
// folder, else a new one. It is saved in the folder for the next start.
func loadRackKey(state string, template *config.ParsedFile) (config.RackKey, error) {
	path := filepath.Join(state, keyFile)
	var key config.RackKey
	text, err := os.ReadFile(path)
	switch {
	case template != nil && template.Written["rack.key"]:
		key = template.Config.Rack.Key
	case err == nil:
		if err := key.UnmarshalText([]byte(strings.TrimSpace(string(text)))); err != nil {
			return key, fmt.Errorf("the lab's rack key in %s is invalid: %w; remove the file for a new key", path, err)
		}
		return key, nil
	case errors.Is(err, fs.ErrNotExist):
		key = config.NewRackKey()
	default:
		return key, fmt.Errorf("reading the lab's rack key: %w", err)
	}
	if err := os.WriteFile(path, []byte(key.Reveal()+"\n"), fileMode); err != nil {
		return key, fmt.Errorf("saving the lab's rack key: %w", err)
	}
	return key, nil
}

const labAccount = "lab" // account of the lab's own console at its boards

func labToken(key config.RackKey) string {
	return console.TokenPrefix + hex.EncodeToString(hmac.New(sha256.New, key.Bytes()).Sum(nil))
}

// boardConfigText returns the configuration file of board i of the plan: the
// template's settings, overridden by those that a lab must set.
func boardConfigText(p *Plan, i int, key config.RackKey, template *config.ParsedFile) []byte {
	c := config.Default()
	if template != nil {
		copied := *template.Config
		c = &copied
	}
	own := []string{
		"board.name", "http.listen", "console.listen", "rack.key", "rack.gossip_listen", "rack.link_listen", "rack.advertise",
		"rack.join", "rack.expected_boards", "orders.directory", "rack.mdns",
	}
	here := p.Boards[i]
	c.Board.Name = here.Name
	c.HTTP.Listen = here.HTTP.String()
	c.Console.Listen = here.Console.String()
	c.Rack.Key = key
	if c.Console.Password != "" || len(c.Console.Accounts) > 0 { // then the lab's own console needs an account
		c.Console.Accounts = slices.DeleteFunc(slices.Clone(c.Console.Accounts), func(a config.ConsoleAccount) bool { return a.Name == labAccount })
		c.Console.Accounts = append(c.Console.Accounts, config.ConsoleAccount{Name: labAccount, Role: string(console.RoleSteer), Password: console.HashToken(labToken(key))})
		own = append(own, "console.accounts")
	}
	c.Rack.GossipListen = here.Gossip.String()
	c.Rack.LinkListen = here.Link.String()
	c.Rack.Advertise = here.Gossip.Addr().String()
	c.Rack.Join = nil
	for j, other := range p.Boards {
		if j != i {
			c.Rack.Join = append(c.Rack.Join, other.Gossip.String())
		}
	}
	c.Rack.ExpectedBoards = len(p.Boards)
	c.Orders.Directory = ledgerFolder
	c.Rack.MDNS = false // the boards know each other's addresses, and must not search the LAN
	return c.TOML(config.PrintOptions{
		Secrets: true,
		Only: func(table, key string) bool {
			name := table + "." + key
			return slices.Contains(own, name) || template != nil && template.Written[name]
		},
	})
}

// writeBoards writes the folders and files of all boards and returns their
// settings. Without a template each board's file from an earlier start is its
// template, so that settings changed by hand in one board's file stay.
func writeBoards(state string, p *Plan, key config.RackKey, template *config.ParsedFile) ([]*config.Config, error) {
	var list []*config.Config
	for i, b := range p.Boards {
		dir := filepath.Join(state, b.Name)
		if err := os.MkdirAll(dir, dirMode); err != nil {
			return nil, fmt.Errorf("creating the folder of %s: %w", b.Name, err)
		}
		path := filepath.Join(dir, configFile)
		from := withOwnHTTPSPort(template, i)
		if from == nil {
			earlier, err := config.LoadFile(path)
			switch {
			case err == nil:
				from = earlier
			case !errors.Is(err, fs.ErrNotExist):
				return nil, fmt.Errorf("the configuration of %s from an earlier start is invalid:\n%w", b.Name, err)
			}
		}
		text := boardConfigText(p, i, key, from)
		if err := os.WriteFile(path, text, fileMode); err != nil {
			return nil, fmt.Errorf("writing the configuration of %s: %w", b.Name, err)
		}
		c, err := config.Parse(path, text)
		if err != nil {
			return nil, fmt.Errorf("your settings and the lab's conflict:\n%w", err)
		}
		list = append(list, c)
	}
	return list, nil
}

// withOwnHTTPSPort returns a template with a port for HTTPS of board i's own: the
// first board has the template's port, the others the ports after it.
func withOwnHTTPSPort(template *config.ParsedFile, i int) *config.ParsedFile {
	if template == nil {
		return nil
	}
	host, text, err := net.SplitHostPort(template.Config.TLS.Listen)
	if err != nil {
		return template // it has no HTTPS
	}
	port, err := strconv.Atoi(text)
	if err != nil || port == 0 {
		return template
	}
	c := *template.Config
	c.TLS.Listen = net.JoinHostPort(host, strconv.Itoa(port+i))
	return &config.ParsedFile{Config: &c, Written: template.Written}
}

// stateFolder returns the folder of a lab and a function that removes it when the
// lab ends. A folder that the options name is not removed, but locked: a second lab would
// rewrite the settings of boards that run.
func stateFolder(named string) (dir string, remove func(), err error) {
	if named == "" {
		dir, err = os.MkdirTemp("", "bramble-lab-")
		if err != nil {
			return "", nil, fmt.Errorf("creating a folder for the lab: %w; name one with --state", err)
		}
		// Anything that cannot be removed is left for the system to clean up.
		return dir, func() { os.RemoveAll(dir) }, nil
	}
	var lock *durable.DirLock
	dir, err = filepath.Abs(named)
	if err == nil {
		err = os.MkdirAll(dir, dirMode)
	}
	if err == nil {
		lock, err = durable.LockDir(dir)
	}
	switch {
	case errors.Is(err, durable.ErrLocked):
		return "", nil, fmt.Errorf("another lab runs on %s (%w): stop it, or name another folder with --state", dir, err)
	case err != nil:
		return "", nil, fmt.Errorf("creating the lab's folder: %w", err)
	}
	return dir, lock.Release, nil
}
