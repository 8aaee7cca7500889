package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"bramble/node/config"
)

// Names inside a lab's folder: the rack key, and a folder a board with its
// configuration, its log and its part of the ledger.
const (
	keyFile      = "rack.key"
	configFile   = "bramble.toml"
	logFile      = "log"
	ledgerFolder = "ledger"
)

// Folder and files are for their owner alone, for they hold the rack key.
const (
	dirMode  = 0o700
	fileMode = 0o600
)

// loadRackKey returns the key of the template if it has one, else the one that
// the folder keeps, else a new one; the folder keeps it for the next start.
func loadRackKey(state string, template *config.ParsedFile) (config.RackKey, error) {
	path := filepath.Join(state, keyFile)
	var key config.RackKey
	text, err := os.ReadFile(path)
	switch {
	case template != nil && template.Written["rack.key"]:
		key = template.Config.Rack.Key
	case err == nil:
		if err := key.UnmarshalText([]byte(strings.TrimSpace(string(text)))); err != nil {
			return key, fmt.Errorf("the lab's rack key in %s cannot be read: %w; or remove the file for a new key", path, err)
		}
		return key, nil
	case errors.Is(err, fs.ErrNotExist):
		key = config.NewRackKey()
	default:
		return key, fmt.Errorf("reading the lab's rack key: %w", err)
	}
	if err := os.WriteFile(path, []byte(key.Reveal()+"\n"), fileMode); err != nil {
		return key, fmt.Errorf("keeping the lab's rack key: %w", err)
	}
	return key, nil
}

// boardConfigText is the file of board i of the plan: what the template sets, and
// over it what a lab must set itself.
func boardConfigText(p *Plan, i int, key config.RackKey, template *config.ParsedFile) []byte {
	c := config.Default()
	own := map[string]bool{}
	if template != nil {
		copied := *template.Config
		c = &copied
	}
	set := func(name string) { own[name] = true }
	here := p.Boards[i]
	c.Board.Name = here.Name
	set("board.name")
	c.HTTP.Listen = here.HTTP.String()
	set("http.listen")
	c.Console.Listen = here.Console.String()
	set("console.listen")
	c.Rack.Key = key
	set("rack.key")
	c.Rack.GossipListen = here.Gossip.String()
	set("rack.gossip_listen")
	c.Rack.LinkListen = here.Link.String()
	set("rack.link_listen")
	c.Rack.Advertise = here.Gossip.Addr().String()
	set("rack.advertise")
	c.Rack.Join = nil
	for j, other := range p.Boards {
		if j != i {
			c.Rack.Join = append(c.Rack.Join, other.Gossip.String())
		}
	}
	set("rack.join")
	c.Rack.ExpectedBoards = len(p.Boards)
	set("rack.expected_boards")
	c.Orders.Directory = ledgerFolder
	set("orders.directory")
	c.Rack.MDNS = false // the boards know each other's addresses, and the LAN is not theirs
	set("rack.mdns")
	return c.TOML(config.PrintOptions{
		Secrets: true,
		Only: func(table, key string) bool {
			name := table + "." + key
			return own[name] || template != nil && template.Written[name]
		},
	})
}

// writeBoards writes the folders and files of all boards and returns what the
// files say. Without a template a file that is there from an earlier start
// goes on as its board's own, so that settings changed by hand in one board's
// file stay.
func writeBoards(state string, p *Plan, key config.RackKey, template *config.ParsedFile) ([]*config.Config, error) {
	var list []*config.Config
	for i, b := range p.Boards {
		dir := filepath.Join(state, b.Name)
		if err := os.MkdirAll(dir, dirMode); err != nil {
			return nil, fmt.Errorf("making the folder of %s: %w", b.Name, err)
		}
		path := filepath.Join(dir, configFile)
		from := withOwnHTTPSPort(template, i)
		if from == nil {
			kept, err := config.LoadFile(path)
			switch {
			case err == nil:
				from = kept
			case !errors.Is(err, fs.ErrNotExist):
				return nil, fmt.Errorf("%s has a configuration from an earlier start that cannot be read:\n%w", b.Name, err)
			}
		}
		text := boardConfigText(p, i, key, from)
		if err := os.WriteFile(path, text, fileMode); err != nil {
			return nil, fmt.Errorf("writing the configuration of %s: %w", b.Name, err)
		}
		c, err := config.Parse(path, text)
		if err != nil {
			return nil, fmt.Errorf("the lab's settings and yours do not fit together:\n%w", err)
		}
		list = append(list, c)
	}
	return list, nil
}

// withOwnHTTPSPort is a template with a port for https that is board i's own: the first
// board has the one that is written, the others those after it.
func withOwnHTTPSPort(template *config.ParsedFile, i int) *config.ParsedFile {
	if template == nil {
		return nil
	}
	host, text, err := net.SplitHostPort(template.Config.TLS.Listen)
	if err != nil {
		return template // there is none
	}
	port, err := strconv.Atoi(text)
	if err != nil || port == 0 {
		return template
	}
	c := *template.Config
	c.TLS.Listen = net.JoinHostPort(host, strconv.Itoa(port+i))
	return &config.ParsedFile{Config: &c, Written: template.Written}
}

// stateFolder returns the folder of a lab and what removes it when the lab
// ends, which is nothing if the folder was asked for.
func stateFolder(asked string) (dir string, forget func(), err error) {
	if asked == "" {
		dir, err = os.MkdirTemp("", "bramble-lab-")
		if err != nil {
			return "", nil, fmt.Errorf("making a folder for the lab: %w; name one with --state", err)
		}
		// What cannot be removed is left for the system to clean up.
		return dir, func() { os.RemoveAll(dir) }, nil
	}
	dir, err = filepath.Abs(asked)
	if err == nil {
		err = os.MkdirAll(dir, dirMode)
	}
	if err != nil {
		return "", nil, fmt.Errorf("making the lab's folder: %w", err)
	}
	return dir, func() {}, nil
}
