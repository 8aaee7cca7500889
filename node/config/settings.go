package config

import (
	"slices"
	"time"
)

// keySpec is one key of bramble.toml: where it stands, what is said of it,
// where it lives in a Config and what it may be.
type keySpec struct {
	table, key string
	// doc says what it is, in which unit and within which bounds, and why the
	// default is what it is.
	doc string
	// defaultText is the default in words, where its literal would mislead.
	defaultText string
	// secret values are never repeated in a message or printed unasked.
	secret bool
	// at returns a pointer to the field; nil for a key of [[site]].
	at func(*Config) any
	// check returns what is wrong with the value and what to write instead,
	// or "". It is nil where every value of the type will do.
	check func(*Config) string
	// atSite and checkSite are the same for a key of [[site]].
	atSite    func(*SiteSettings) any
	checkSite func(*SiteSettings) string
}

// tableSpec is one [table] of the file, or, if many is set, any number of [[table]].
type tableSpec struct {
	name, doc string
	many      bool
}

// header is the table's line in the file.
func (t tableSpec) header() string {
	if t.many {
		return "[[" + t.name + "]]"
	}
	return "[" + t.name + "]"
}

func tableSpecs() []tableSpec {
	return []tableSpec{
		{name: "board", doc: "Who this board is."},
		{name: "http", doc: "The public listener, where the shop's pages are."},
		{name: "tls", doc: "https on the public pages. Without a certificate of its own a name is served with one that the boards of the rack share and no browser knows."},
		{name: "console", doc: "The listener for ops: console, API, metrics, health. Keep it off the internet."},
		{name: "rack", doc: "How the boards of a rack find and trust each other."},
		{name: "cache", doc: "The pages kept in memory."},
		{name: "origin", doc: "Where a page comes from when no board has it: the server behind every host name that no [[site]] has."},
		{name: "site", many: true, doc: "One more web site, told by its host name; any number of these, at most 64. " +
			"What it does not say is as [origin] says."},
		{name: "shop", doc: "The built-in shop, used where a url is empty."},
		{name: "orders", doc: "The orders that the built-in shop takes, kept by the boards together."},
		{name: "webhook", doc: "The program that orders are handed over to, by Standard Webhooks."},
		{name: "mail", doc: "Mail to buyers, by SMTP."},
		{name: "panel", doc: "The board's lamps and its button (gpio/README.md). A board without them serves as well."},
		{name: "network", doc: "A card's network, where the card image runs the board; another system has its own settings. " +
			"What belongs to one card only stands under [cards.1a2b.network], 1a2b being the last digits of its serial number, four or more. " +
			"In the same way every other table can have keys for one card: [cards.1a2b.board]."},
		{name: "log", doc: "What is written to standard error."},
	}
}

// allKeys lists every key, in the order in which they are printed within
// their table.
func allKeys() []keySpec {
	return slices.Concat(boardKeys(), tlsKeys(), originTableKeys(), siteKeys(), orderKeys(), panelKeys(), networkKeys())
}

// maxRate bounds what can be asked for a second: more than any board does.
const maxRate = 100_000

func boardKeys() []keySpec {
	return []keySpec{
		{
			table: "board", key: "name", defaultText: "the host name",
			doc: "Name of this board, unlike any other in the rack: letters, digits, '-', '_' and '.', at most 63. " +
				"The host name will do, because an image gives each card its own.",
			at:    func(c *Config) any { return &c.Board.Name },
			check: func(c *Config) string { return checkName(c.Board.Name) },
		}, {
			table: "board", key: "weight",
			doc: "Share of the pages that this board owns, against the weight of the others: 1 to 1000. " +
				"100 for an original Pi leaves room to give a faster board 400.",
			at:    func(c *Config) any { return &c.Board.Weight },
			check: func(c *Config) string { return checkInt(c.Board.Weight, 1, 1000) },
		}, {
			table: "http", key: "listen",
			doc: "Address of the public pages, host:port; no host means every address of the board. " +
				"80 is the port that a browser asks.",
			at:    func(c *Config) any { return &c.HTTP.Listen },
			check: func(c *Config) string { return checkListen(c.HTTP.Listen) },
		}, {
			table: "http", key: "header_timeout",
			doc: "How long a client may take to send a request's header, 100ms to 5m. " +
				"10s is ample for a bad mobile line and bounds what slow connections can hold.",
			at: func(c *Config) any { return &c.HTTP.HeaderTimeout },
			check: func(c *Config) string {
				return checkDuration(c.HTTP.HeaderTimeout, 100*time.Millisecond, 5*time.Minute)
			},
		}, {
			table: "http", key: "idle_timeout",
			doc: "How long a connection may wait for its next request, 1s to 1h. " +
				"60s spans a person's pause between two pages.",
			at:    func(c *Config) any { return &c.HTTP.IdleTimeout },
			check: func(c *Config) string { return checkDuration(c.HTTP.IdleTimeout, time.Second, time.Hour) },
		}, {
			table: "http", key: "write_timeout",
			doc: "How long one whole reply may take, 1s to 1h. " +
				"60s sends 1MB even at 140 kbit/s; a reader who is slower holds memory that others need.",
			at:    func(c *Config) any { return &c.HTTP.WriteTimeout },
			check: func(c *Config) string { return checkDuration(c.HTTP.WriteTimeout, time.Second, time.Hour) },
		}, {
			table: "http", key: "max_connections",
			doc: "Open connections from clients at once, 1 to 1000000. " +
				"An idle one takes half a kB here and 3.5kB in the kernel, so that 4096 leave a 256 MB board beside its cache room for all else; " +
				"it becomes less by itself if the process may not open as many files.",
			at:    func(c *Config) any { return &c.HTTP.MaxConnections },
			check: func(c *Config) string { return checkInt(c.HTTP.MaxConnections, 1, 1_000_000) },
		}, {
			table: "http", key: "drain_timeout",
			doc: "How long replies under way may still take when the board stops, 0s to 5m. " +
				"10s ends all but the slowest; whoever waits for the board knows when it is over.",
			at:    func(c *Config) any { return &c.HTTP.DrainTimeout },
			check: func(c *Config) string { return checkDuration(c.HTTP.DrainTimeout, 0, 5*time.Minute) },
		}, {
			table: "http", key: "accept_rate",
			doc: "How many connections a second are taken in, 0 to 100000; those beyond wait in the kernel. " +
				"0 sets no bound: a board takes what it can.",
			at:    func(c *Config) any { return &c.HTTP.AcceptRate },
			check: func(c *Config) string { return checkInt(c.HTTP.AcceptRate, 0, maxRate) },
		}, {
			table: "http", key: "client_request_rate",
			doc: "How many requests a second one address may send, 0 to 100000; two seconds' worth may come at once, and those beyond get a 503. " +
				"0 sets no bound, because a whole school or a mobile network can be one address.",
			at:    func(c *Config) any { return &c.HTTP.ClientRequestRate },
			check: func(c *Config) string { return checkInt(c.HTTP.ClientRequestRate, 0, maxRate) },
		}, {
			table: "http", key: "network_request_rate",
			doc:   "The same for all addresses of one network together, a /24 of IPv4 or a /64 of IPv6.",
			at:    func(c *Config) any { return &c.HTTP.NetworkRequestRate },
			check: func(c *Config) string { return checkInt(c.HTTP.NetworkRequestRate, 0, maxRate) },
		}, {
			table: "http", key: "client_connection_rate",
			doc:   "How many connections a second one address may open, 0 to 100000; those beyond are closed. 0 sets no bound.",
			at:    func(c *Config) any { return &c.HTTP.ClientConnectionRate },
			check: func(c *Config) string { return checkInt(c.HTTP.ClientConnectionRate, 0, maxRate) },
		}, {
			table: "http", key: "network_connection_rate",
			doc:   "The same for all addresses of one network together.",
			at:    func(c *Config) any { return &c.HTTP.NetworkConnectionRate },
			check: func(c *Config) string { return checkInt(c.HTTP.NetworkConnectionRate, 0, maxRate) },
		}, {
			table: "http", key: "max_requests",
			doc: "How many requests that memory cannot answer are worked on at once, 0 to 100000; four times as many may wait for 2 s, and the rest get a 503. " +
				"0 takes an eighth of the memory that the cache leaves, at 64kB each: 138 on a 256 MB board.",
			at:    func(c *Config) any { return &c.HTTP.MaxRequests },
			check: func(c *Config) string { return checkInt(c.HTTP.MaxRequests, 0, maxRate) },
		}, {
			table: "http", key: "body_timeout",
			doc: "How long what a client sends, such as a form, may be behind body_rate, 1s to 1h; then it gets a 408. " +
				"5s spans a gap in a bad mobile line; it shrinks to 1s while very many send slowly.",
			at:    func(c *Config) any { return &c.HTTP.BodyTimeout },
			check: func(c *Config) string { return checkDuration(c.HTTP.BodyTimeout, time.Second, time.Hour) },
		}, {
			table: "http", key: "min_body_rate",
			doc: "How many bytes a second what a client sends must come with, 0 to 1GB; all of it within write_timeout. " +
				"1kB is slower than any line that loads a page; 0 sets no bound.",
			at:    func(c *Config) any { return &c.HTTP.MinBodyRate },
			check: func(c *Config) string { return checkSize(c.HTTP.MinBodyRate, 0, GB) },
		}, {
			table: "console", key: "listen",
			doc: "Address of console, API, metrics and health, host:port. " +
				"A port of its own, so that a firewall can keep the public out.",
			at:    func(c *Config) any { return &c.Console.Listen },
			check: func(c *Config) string { return checkListen(c.Console.Listen) },
		}, {
			table: "console", key: "password", secret: true,
			doc: "Password of the console, 8 to 200 characters and not the rack key. " +
				"Empty: whoever reaches the listener may look, and only the board itself may steer, which is safe unasked.",
			at:    func(c *Config) any { return &c.Console.Password },
			check: checkPassword,
		}, {
			table: "rack", key: "key", secret: true, defaultText: "none, it must be set",
			doc: `The secret that makes boards a rack, the same on every board: the line that "bramble key" prints. ` +
				"There is no default, for everybody would know it.",
			at: func(c *Config) any { return &c.Rack.Key },
		}, {
			table: "rack", key: "old_keys", secret: true,
			doc: "Keys accepted beside key while it is being changed, at most 4. " +
				"Empty except while a new key goes round the boards.",
			at:    func(c *Config) any { return &c.Rack.OldKeys },
			check: func(c *Config) string { return checkCount(len(c.Rack.OldKeys), maxOldKeys, "keys") },
		}, {
			table: "rack", key: "gossip_listen",
			doc: "Address on which boards hear of each other, host:port, both UDP and TCP. " +
				"7946 is the usual port of the library that does it.",
			at:    func(c *Config) any { return &c.Rack.GossipListen },
			check: func(c *Config) string { return checkListen(c.Rack.GossipListen) },
		}, {
			table: "rack", key: "link_listen",
			doc: "Address on which boards hand each other pages, host:port, TLS over TCP. " +
				"The port next to that of gossip.",
			at:    func(c *Config) any { return &c.Rack.LinkListen },
			check: func(c *Config) string { return checkListen(c.Rack.LinkListen) },
		}, {
			table: "rack", key: "advertise", defaultText: "found by itself",
			doc: "The IP address at which the other boards reach this one. " +
				"Set it only if the board has several and finds the wrong one.",
			at:    func(c *Config) any { return &c.Rack.Advertise },
			check: func(c *Config) string { return checkIP(c.Rack.Advertise) },
		}, {
			table: "rack", key: "join",
			doc: "Gossip addresses of other boards, host or host:port, at most 64; the port is 7946 if left out. " +
				"One that answers is enough. Empty where mDNS finds the rack.",
			at:    func(c *Config) any { return &c.Rack.Join },
			check: func(c *Config) string { return checkJoin(c.Rack.Join) },
		}, {
			table: "rack", key: "mdns",
			doc: "Find the rack on the local network by mDNS. " +
				"On, so that a new card needs no address; turn it off where multicast is not welcome.",
			at: func(c *Config) any { return &c.Rack.MDNS },
		}, {
			table: "rack", key: "peer_timeout",
			doc: "The longest that a page waits for a sign of life from other boards, 100ms to 30s; then the origin is asked. " +
				"1s is more than a busy Pi takes, and a shopper still stays.",
			at:    func(c *Config) any { return &c.Rack.PeerTimeout },
			check: func(c *Config) string { return checkDuration(c.Rack.PeerTimeout, 100*time.Millisecond, 30*time.Second) },
		}, {
			table: "rack", key: "forget_after",
			doc: "How long a dead board stays on the list and its address is tried, 1m to 168h. " +
				"10m outlasts a change of plug or card.",
			at:    func(c *Config) any { return &c.Rack.ForgetAfter },
			check: func(c *Config) string { return checkDuration(c.Rack.ForgetAfter, time.Minute, 168*time.Hour) },
		}, {
			table: "rack", key: "expected_boards",
			doc: "How many boards the rack is planned to have, 1 to 1000; it counts until the rack has a ledger. " +
				"The ledger is founded when more than half of them see each other, so that two halves started apart never found two; " +
				"it must not be less than the boards there are. 5 suits racks of three to five.",
			at:    func(c *Config) any { return &c.Rack.ExpectedBoards },
			check: func(c *Config) string { return checkInt(c.Rack.ExpectedBoards, 1, 1000) },
		}, {
			table: "cache", key: "memory",
			doc: "Memory for stored pages, bookkeeping included, 2MB to 1000GB. MB is a million bytes, MiB is 1048576. " +
				"64MB leaves a 256 MB board room for connections and the system.",
			at:    func(c *Config) any { return &c.Cache.Memory },
			check: func(c *Config) string { return checkSize(c.Cache.Memory, 2*MB, 1000*GB) },
		}, {
			table: "cache", key: "max_object",
			doc: "The largest page that is kept, 1kB to a sixteenth of memory; what is larger passes through. " +
				"1MB, or the sixteenth if that is less, holds any page or picture of a shop, and no download drives the pages out.",
			at:    func(c *Config) any { return &c.Cache.MaxObject },
			check: checkMaxObject,
		}, {
			table: "cache", key: "cache_status_header",
			doc: "Whether each reply says in Cache-Status what the cache did with it (RFC 9211). " +
				"On, for it costs 60 bytes and answers most questions about a cache.",
			at: func(c *Config) any { return &c.Cache.CacheStatusHeader },
		}, {
			table: "cache", key: "client_cache_control",
			doc: "Whether no-cache, no-store, max-age, min-fresh and max-stale in a request are obeyed. " +
				"Off, or a crowd that presses F5 would reach the origin.",
			at: func(c *Config) any { return &c.Cache.ClientCacheControl },
		}, {
			table: "cache", key: "store_set_cookie",
			doc: "Whether Set-Cookie is stored with a page that says public or s-maxage, and given to every reader. " +
				"Off, since that hands one visitor's session to all.",
			at: func(c *Config) any { return &c.Cache.StoreSetCookie },
		}, {
			table: "cache", key: "stale_if_error",
			doc: "For how long past its lifetime a page is shown when its origin fails, where the page itself says nothing about that, 0s to 720h. " +
				"24h, as at a launch an old page beats no page; 0s never does it.",
			at:    func(c *Config) any { return &c.Cache.StaleIfError },
			check: func(c *Config) string { return checkDuration(c.Cache.StaleIfError, 0, 720*time.Hour) },
		}, {
			table: "cache", key: "compress",
			doc: "Whether text that an origin sends plain is stored gzipped too, once, for readers that take it. " +
				"Off: worth it only where the line is slower than a first Pi, which packs about 3MB a second.",
			at: func(c *Config) any { return &c.Cache.Compress },
		}, {
			table: "cache", key: "max_variants",
			doc: "Variants of one page that are kept (Vary), 1 to 256; a new one takes the place of the oldest. " +
				"16 are more than languages and encodings make, and bound what a page that varies on User-Agent takes.",
			at:    func(c *Config) any { return &c.Cache.MaxVariants },
			check: func(c *Config) string { return checkInt(c.Cache.MaxVariants, 1, 256) },
		}, {
			table: "shop", key: "catalogue", defaultText: `"", the built-in launch`,
			doc: "Catalogue file of the shop; a relative path starts at the folder of bramble.toml. " +
				"Empty: the launch of 29 February 2012, so that there is something to see.",
			at: func(c *Config) any { return &c.Shop.Catalogue },
		}, {
			table: "log", key: "level",
			doc: "What is logged: debug, info, warn or error, each with what is graver. " +
				"info tells what happened to the rack and nothing of each request.",
			at:    func(c *Config) any { return &c.Log.Level },
			check: func(c *Config) string { return checkOneOf(c.Log.Level, "debug", "info", "warn", "error") },
		}, {
			table: "log", key: "format",
			doc: "How a line is written: text for people, json for machines. " +
				"text, as a person looks first.",
			at:    func(c *Config) any { return &c.Log.Format },
			check: func(c *Config) string { return checkOneOf(c.Log.Format, "text", "json") },
		},
	}
}
