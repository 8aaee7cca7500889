// Package config holds the settings of one board: the keys of bramble.toml, their
// defaults, and the errors for mistakes in the file. Each key is listed once, in
// the settings files; the parser, the checks, the output of "bramble config" and
// the reference in README.md all come from that list. The package does not know
// the parts that it configures.
package config

import (
	"log/slog"
	"os"
	"strings"
	"time"
)

// Config holds all settings of one board. The zero value is
// not useful: start from Default, Load or Parse. The settings files describe each
// field, with unit, limits and reason.
type Config struct {
	Board   BoardSettings
	HTTP    HTTPSettings
	TLS     TLSSettings
	Console ConsoleSettings
	Rack    RackSettings
	Cache   CacheSettings
	Origin  OriginSettings
	Sites   []SiteSettings
	Shop    ShopSettings
	Orders  OrderSettings
	Webhook WebhookSettings
	Mail    MailSettings
	Backup  BackupSettings
	Panel   PanelSettings
	Network NetworkSettings
	Update  UpdateSettings
	Log     LogSettings
}

// BoardSettings holds the table [board]: the board's identity.
type BoardSettings struct {
	Name   string // unique in the rack; letters, digits, '-', '_' and '.'
	Weight int    // share of the ring relative to other boards' weights, 1 to 1000
}

// HTTPSettings holds the table [http]: the public listener.
type HTTPSettings struct {
	Listen         string // host:port
	HeaderTimeout  Duration
	IdleTimeout    Duration
	WriteTimeout   Duration // of one whole reply
	MaxConnections int
	DrainTimeout   Duration
	// Per second; 0 = no limit.
	AcceptRate            int
	ClientRequestRate     int
	NetworkRequestRate    int
	ClientConnectionRate  int
	NetworkConnectionRate int
	// Per minute; 0 = no limit.
	ClientFormRate, NetworkFormRate int

	MaxRequests int // in progress, without those for pages in memory; 0 = by the size of the memory
	BodyTimeout Duration
	MinBodyRate Size // per second; 0 = no limit
}

// TLSSettings holds the table [tls]: https on the public pages.
type TLSSettings struct {
	Listen               string   // host:port; "" = none
	CertificateFiles     []string // paths of PEM files; the key of each has the same index in KeyFiles
	KeyFiles             []string
	ACMEDomains          []string // names for which to get certificates from a CA; lower case
	ACMEDirectoryURL     string
	ACMEEmail            string
	ACMECARoot           string   // path of a PEM file; "" = the system's CAs
	ACMEStorage          string   // directory of the certificates from the CA
	RedirectHTTP         bool     // from plain HTTP to https
	HSTSMaxAge           Duration // 0 = no such field
	MaxPendingHandshakes int      // that have not begun
}

// ConsoleSettings holds the table [console]: the listener for ops, with console, API,
// metrics and health.
type ConsoleSettings struct {
	Listen   string // host:port
	Password string // or its hash; "" and no Accounts = every client may read, only loopback may make changes
	Accounts []ConsoleAccount
}

// ConsoleAccount is one table [[console.accounts]].
type ConsoleAccount struct{ Name, Role, Password string }

// RackSettings holds the table [rack]: how this board finds and trusts the others.
type RackSettings struct {
	Key            RackKey
	OldKeys        []RackKey // accepted besides Key while it is changed
	GossipListen   string    // host:port, UDP and TCP
	LinkListen     string    // host:port, TCP
	Advertise      string    // an IP address; "" = found automatically
	Join           []string  // host or host:port of other boards' gossip
	MDNS           bool
	PeerTimeout    Duration
	ForgetAfter    Duration
	ExpectedBoards int // planned number of boards; matters until the rack has a ledger, and to bramble rekey
}

// CacheSettings holds the [cache] table.
type CacheSettings struct {
	Memory             Size // for all stored objects, bookkeeping included
	MaxObject          Size // the largest body that is stored
	CacheStatusHeader  bool // send Cache-Status
	ClientCacheControl bool // apply Cache-Control of requests
	StoreSetCookie     bool
	StaleIfError       Duration // 0 = never
	Compress           bool
	MaxVariants        int
}

// OriginSettings holds the table [origin]: where a page comes from on a miss.
type OriginSettings struct {
	URL            string // "" = the built-in shop
	ConnectTimeout Duration
	ReplyTimeout   Duration // until the reply's header fields are in
	IdleTimeout    Duration // between two pieces of a reply's body
	MaxConcurrent  int      // for the whole rack
	QueueTimeout   Duration // for one of MaxConcurrent
	HealthPath     string   // "" = no regular check
	HealthInterval Duration
	HealthTimeout  Duration
	Invalidate     bool     // an unsafe request that succeeds makes the stored page out of date
	Methods        []string // allowed besides those of RFC 9110 and PATCH
	TrustedProxies []string // networks of peers whose fields about the client are passed on
}

// SiteSettings is one table [[site]]: a web site, recognised by the host name of requests.
type SiteSettings struct {
	Host    string         // canonical; lower case
	Aliases []string       // other names, "*.example.com" among them
	Origin  OriginSettings // keys that the table does not set are as in [origin]
}

// ShopSettings holds the table [shop]: the built-in shop.
type ShopSettings struct {
	Catalogue string // path of a file; "" = the launch of 29 February 2012
}

// OrderSettings holds the table [orders]: whether and how the built-in shop accepts orders.
type OrderSettings struct {
	Enabled   bool
	Directory string // of the ledger and the order book
	Retention Duration
	PublicURL string // of the shop, such as "https://shop.example"; "" = taken from each request
}

// WebhookSettings holds the table [webhook]: the program that fulfils orders.
type WebhookSettings struct {
	URL     string // "" = none
	Secret  string // "whsec_" and base64
	Timeout Duration
}

// MailSettings holds the table [mail]: the server that sends mail to buyers.
type MailSettings struct {
	Server   string // host:port of an SMTP server; "" = no mail
	From     string
	User     string
	Password string
	TLS      string // starttls, tls or none
	Timeout  Duration
}

// PanelSettings holds the table [panel]: the board's lamps and its button.
type PanelSettings struct {
	HealthPin string   // a pin such as "GPIO27", "auto" or "none"
	BarPins   []string // pins, lowest lamp first; "auto" or "none" alone
	ButtonPin string   // as HealthPin
	KernelLED string   // a LED of the kernel, "auto" or "none"
	ActiveLow bool
	PWM       bool
	Blinkt    bool // a Blinkt! replaces the lamps on pins
}

// LogSettings holds the [log] table.
type LogSettings struct {
	Level  string // debug, info, warn or error
	Format string // text or json
}

// SlogLevel returns Level for log/slog; info for an invalid level.
func (l LogSettings) SlogLevel() (level slog.Level) {
	_ = level.UnmarshalText([]byte(l.Level)) // an error leaves info
	return level
}

// Default returns the settings of a board with an empty file. They suit a 256 MB Pi.
// The rack key has no default: it is the zero RackKey.
func Default() *Config {
	return &Config{
		Board: BoardSettings{Name: hostName(), Weight: 100},
		HTTP: HTTPSettings{
			Listen:         ":80",
			HeaderTimeout:  Duration(10 * time.Second),
			IdleTimeout:    Duration(60 * time.Second),
			WriteTimeout:   Duration(60 * time.Second),
			MaxConnections: 4096,
			DrainTimeout:   Duration(10 * time.Second),
			ClientFormRate: 300, NetworkFormRate: 600,
			BodyTimeout: Duration(5 * time.Second),
			MinBodyRate: KB,
		},
		TLS:     TLSSettings{ACMEDirectoryURL: letsEncrypt, ACMEStorage: "certificates", MaxPendingHandshakes: 128},
		Console: ConsoleSettings{Listen: ":8080"},
		Rack: RackSettings{
			GossipListen:   ":7946",
			LinkListen:     ":7947",
			MDNS:           true,
			PeerTimeout:    Duration(time.Second),
			ForgetAfter:    Duration(10 * time.Minute),
			ExpectedBoards: 5,
		},
		Cache: CacheSettings{
			Memory: 64 * MB, MaxObject: MB, CacheStatusHeader: true,
			StaleIfError: Duration(24 * time.Hour), MaxVariants: 16,
		},
		Origin: OriginSettings{
			ConnectTimeout: Duration(2 * time.Second),
			ReplyTimeout:   Duration(10 * time.Second),
			IdleTimeout:    Duration(10 * time.Second),
			MaxConcurrent:  128,
			QueueTimeout:   Duration(5 * time.Second),
			HealthInterval: Duration(5 * time.Second),
			HealthTimeout:  Duration(2 * time.Second),
			Invalidate:     true,
		},
		Orders:  OrderSettings{Enabled: true, Directory: "ledger", Retention: Duration(180 * 24 * time.Hour)},
		Webhook: WebhookSettings{Timeout: Duration(10 * time.Second)},
		Mail:    MailSettings{TLS: "starttls", Timeout: Duration(30 * time.Second)},
		Backup:  BackupSettings{Interval: Duration(24 * time.Hour), Keep: 14},
		Panel:   PanelSettings{HealthPin: "auto", BarPins: []string{"auto"}, ButtonPin: "auto", KernelLED: "auto"},
		Log:     LogSettings{Level: "info", Format: "text"},
	}
}

// hostName returns the machine's name as a valid board name, because a laptop may be
// called "Ann's MacBook".
func hostName() string {
	name, _ := os.Hostname() // an error leaves ""
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
