// Package config holds the settings of one board: what bramble.toml may say,
// what it means where it says nothing, and how a mistake in it is told.
// Every key stands once, in the list in settings.go, and the reader, the
// checks, the output of "bramble config" and the reference in the README are
// all made from that list. It knows nothing of the parts that it configures.
package config

import (
	"log/slog"
	"os"
	"strings"
	"time"
)

// Config is everything that an operator can set on one board. The zero value
// is not useful: start from Default, Load or Parse. The fields are described,
// with unit, bounds and reason, in settings.go.
type Config struct {
	Board   Board
	HTTP    HTTP
	TLS     TLS
	Console Console
	Rack    Rack
	Cache   Cache
	Origin  Origin
	Sites   []Site
	Shop    Shop
	Orders  Orders
	Webhook Webhook
	Mail    Mail
	Panel   Panel
	Network Network
	Log     Log
}

// Board is the table [board]: who this board is.
type Board struct {
	Name   string // unique in the rack; letters, digits, '-', '_' and '.'
	Weight int    // share of the ring against other boards' weights, 1 to 1000
}

// HTTP is the table [http]: the public listener.
type HTTP struct {
	Listen         string // host:port
	HeaderTimeout  Duration
	IdleTimeout    Duration
	WriteTimeout   Duration // for one whole reply
	MaxConnections int
	DrainTimeout   Duration
	// A second; 0 = no bound.
	NewConnections     int
	ClientRequests     int
	NetworkRequests    int
	ClientConnections  int
	NetworkConnections int
	MaxRequests        int // at once, beside those for pages in memory; 0 = by the memory
	BodyTimeout        Duration
	BodyRate           Size // a second; 0 = no bound
}

// TLS is the table [tls]: https on the public pages.
type TLS struct {
	Listen          string   // host:port; "" = none
	Certificate     []string // paths of PEM files, each with the key at the same place in Key
	Key             []string
	ACME            []string // names that a CA is asked to certify; lower case
	ACMEDirectory   string
	ACMEEmail       string
	ACMECA          string   // path of a PEM file; "" = the system's CAs
	Folder          string   // of the certificates that a CA has given
	Redirect        bool     // plain HTTP sends browsers here
	StrictTransport Duration // 0 = it is not said
	Handshakes      int      // waiting for their turn
}

// Console is the table [console]: the listener for ops, with console, API,
// metrics and health.
type Console struct {
	Listen   string // host:port
	Password string // "" = anyone may read, only loopback may steer
}

// Rack is the table [rack]: how this board finds and trusts the others.
type Rack struct {
	Key         RackKey
	OldKeys     []RackKey // accepted beside Key while it is being changed
	Gossip      string    // host:port, UDP and TCP
	Link        string    // host:port, TCP
	Advertise   string    // an IP address; "" = found by itself
	Join        []string  // host or host:port of other boards' gossip
	MDNS        bool
	PeerTimeout Duration
	ForgetAfter Duration
	Boards      int // how many the rack is planned to have; counts until it has a ledger
}

// Cache is the table [cache].
type Cache struct {
	Memory           Size // for all that the cache keeps, bookkeeping included
	MaxObject        Size // the largest body that is kept
	Status           bool // Cache-Status on replies
	ClientDirectives bool // what requests say in Cache-Control is obeyed
	KeepSetCookie    bool
	StaleOnError     Duration // 0 = never
	Compress         bool
	MaxVariants      int
}

// Origin is the table [origin]: where a page comes from on a miss.
type Origin struct {
	URL            string // "" = the built-in shop
	ConnectTimeout Duration
	ReplyTimeout   Duration // until the reply's header fields are in
	IdleTimeout    Duration // between two pieces of a reply's body
	MaxConcurrent  int      // for the whole rack
	QueueTimeout   Duration // for one of these places
	HealthPath     string   // "" = no regular check
	HealthInterval Duration
	HealthTimeout  Duration
}

// Site is one table [[site]]: a web site told by the host name that clients ask for.
type Site struct {
	Host    string   // canonical; lower case
	Aliases []string // other names, "*.example.com" among them
	Origin  Origin   // as [origin] where the file says nothing
}

// Shop is the table [shop]: the built-in shop.
type Shop struct {
	Catalogue string // path of a file; "" = the launch of 29 February 2012
}

// Orders is the table [orders]: whether and how the built-in shop takes them.
type Orders struct {
	Take     bool
	Folder   string // of the ledger and the order book
	Keep     Duration
	PublicAt string // "https://shop.example": where buyers reach the shop; "" = told by their request
}

// Webhook is the table [webhook]: who orders are handed over to.
type Webhook struct {
	URL     string // "" = nobody
	Secret  string // "whsec_" and base64
	Timeout Duration
}

// Mail is the table [mail]: through whom buyers get mail.
type Mail struct {
	Server   string // host:port of an SMTP server; "" = no mail
	From     string
	User     string
	Password string
	TLS      string // starttls, tls or none
	Timeout  Duration
}

// Panel is the table [panel]: the board's lamps and its button.
type Panel struct {
	Health    string   // a pin such as "GPIO27", "auto" or "none"
	Bar       []string // pins, lowest lamp first; "auto" or "none" alone
	Button    string   // as Health
	LED       string   // a LED of the kernel's, "auto" or "none"
	ActiveLow bool
	PWM       bool
	Strip     bool // a Blinkt! in place of lamps on pins
}

// Log is the table [log].
type Log struct {
	Level  string // debug, info, warn or error
	Format string // text or json
}

// SlogLevel is Level as log/slog knows it; a level that no check has let
// through counts as info.
func (l Log) SlogLevel() slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		return slog.LevelInfo
	}
	return level
}

// Default returns the settings of a board whose file says nothing. They suit
// a 256 MB Pi. The rack key has no default: it is the zero RackKey.
func Default() *Config {
	return &Config{
		Board: Board{Name: hostName(), Weight: 100},
		HTTP: HTTP{
			Listen:         ":80",
			HeaderTimeout:  Duration(10 * time.Second),
			IdleTimeout:    Duration(60 * time.Second),
			WriteTimeout:   Duration(60 * time.Second),
			MaxConnections: 4096,
			DrainTimeout:   Duration(10 * time.Second),
			BodyTimeout:    Duration(5 * time.Second),
			BodyRate:       KB,
		},
		TLS:     TLS{ACMEDirectory: letsEncrypt, Folder: "certificates", Handshakes: 128},
		Console: Console{Listen: ":8080"},
		Rack: Rack{
			Gossip:      ":7946",
			Link:        ":7947",
			MDNS:        true,
			PeerTimeout: Duration(time.Second),
			ForgetAfter: Duration(10 * time.Minute),
			Boards:      5,
		},
		Cache: Cache{
			Memory: 64 * MB, MaxObject: MB, Status: true,
			StaleOnError: Duration(24 * time.Hour), MaxVariants: 16,
		},
		Origin: Origin{
			ConnectTimeout: Duration(2 * time.Second),
			ReplyTimeout:   Duration(10 * time.Second),
			IdleTimeout:    Duration(10 * time.Second),
			MaxConcurrent:  128,
			QueueTimeout:   Duration(5 * time.Second),
			HealthInterval: Duration(5 * time.Second),
			HealthTimeout:  Duration(2 * time.Second),
		},
		Orders:  Orders{Take: true, Folder: "ledger", Keep: Duration(180 * 24 * time.Hour)},
		Webhook: Webhook{Timeout: Duration(10 * time.Second)},
		Mail:    Mail{TLS: "starttls", Timeout: Duration(30 * time.Second)},
		Panel:   Panel{Health: "auto", Bar: []string{"auto"}, Button: "auto", LED: "auto"},
		Log:     Log{Level: "info", Format: "text"},
	}
}

// hostName makes a valid board name of the machine's name, because a laptop
// may be called "Ann's MacBook".
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		name = ""
	}
	name = strings.Map(func(r rune) rune {
		if nameRune(r) {
			return r
		}
		return '-'
	}, name)
	name = strings.Trim(name[:min(len(name), maxName)], "-._")
	if name == "" {
		return "board"
	}
	return name
}
