package config

import (
	"slices"
	"time"
)

// keySpec describes one key of bramble.toml: its table, its documentation, its field
// in a Config and its allowed values.
type keySpec struct {
	table, key  string
	doc         string // its meaning, unit and limits, and the reason for its default
	defaultText string // default in words, if its literal would mislead
	secret      bool   // values are never repeated in a message, and only printed on request
	// renewal is what becomes of the secret after a card was stolen: byRekey, or what its owner does. "" = no secret.
	renewal string
	at      func(*Config, *SiteSettings) any // returns a pointer to the field, for a key of [[site]] that of one site
	// check returns the problem with the value and its remedy, or "". It may be nil.
	check func(*Config, *SiteSettings) string
}

// keyOf describes a key by its field, the check of its value (nil if every value of the type is
// valid) and its documentation.
func keyOf[T any](table, key string, at func(*Config) *T, check func(T) string, doc string) keySpec {
	k := keySpec{table: table, key: key, doc: doc, at: func(c *Config, _ *SiteSettings) any { return at(c) }}
	if check != nil {
		k.check = func(c *Config, _ *SiteSettings) string { return check(*at(c)) }
	}
	return k
}

func (k keySpec) withDefault(text string) keySpec {
	k.defaultText = text
	return k
}

func (k keySpec) asSecret(renewal string) keySpec {
	k.secret, k.renewal = true, renewal
	return k
}

// namesSecret is asSecret for a key that only says where a secret is.
func (k keySpec) namesSecret(renewal string) keySpec {
	k.renewal = renewal
	return k
}

// checkedBy adds a check that depends on other keys too.
func (k keySpec) checkedBy(check func(*Config) string) keySpec {
	k.check = func(c *Config, _ *SiteSettings) string { return check(c) }
	return k
}

// tableSpec is one [table] of the file or, if many is set, any number of [[table]].
type tableSpec struct {
	name, doc string
	many      bool
}

func (t tableSpec) header() string {
	if t.many {
		return "[[" + t.name + "]]"
	}
	return "[" + t.name + "]"
}

func tableSpecs() []tableSpec {
	return []tableSpec{
		{name: "board", doc: "This board."},
		{name: "http", doc: "The public listener, which serves the shop's pages."},
		{name: "tls", doc: "https for the public pages. A name without a certificate of its own is served with one that the boards of the rack share and browsers warn about."},
		{name: "console", doc: "The listener for operators: console, API, metrics, health. Keep it off the internet."},
		{name: "rack", doc: "How the boards of a rack find and trust each other."},
		{name: "cache", doc: "The pages stored in memory."},
		{name: "origin", doc: "Where a page comes from if no board has it: the server behind every host name that no [[site]] has."},
		{name: "site", many: true, doc: "One more web site, recognised by its host name; at most 64 of these tables. " +
			"Keys that it does not set are as in [origin]."},
		{name: "shop", doc: "The built-in shop, used where a url is empty."},
		{name: "orders", doc: "The orders of the built-in shop. The boards store them together."},
		{name: "webhook", doc: "The program that fulfils orders; the rack posts each order to it by Standard Webhooks."},
		{name: "mail", doc: "Mail to buyers, over SMTP."},
		{name: "backup", doc: "Backups of the orders by a schedule, to a USB stick or a server. Set directory, url or both."},
		{name: "panel", doc: "The board's lamps and its button (gpio/README.md). A board works without them too."},
		{name: "network", doc: "The network of a card that was made with the image; another operating system has its own settings. " +
			"Keys for one card only stand under [cards.1a2b.network], where 1a2b is the last four or more digits of its serial number. " +
			"Every other table can have keys for one card in the same way: [cards.1a2b.board]."},
		{name: "update", doc: "Whose updates a card accepts; for a card that was made with the image."},
		{name: "log", doc: "The log, which is written to standard error."},
	}
}

// allKeys returns every key, in the order in which its table is printed.
func allKeys() []keySpec {
	return slices.Concat(boardKeys(), tlsKeys(), originKeys(), siteKeys(), orderKeys(), backupKeys(), panelKeys(), networkKeys())
}

const maxRate = 100_000 // limits every rate per second: no board does more

func boardKeys() []keySpec {
	return []keySpec{
		keyOf("board", "name", func(c *Config) *string { return &c.Board.Name }, checkName,
			"Name of this board, unique in the rack: letters, digits, '-', '_' and '.', at most 63. "+
				"The host name is a good default, because an image gives each card its own.").
			withDefault("the host name"),
		keyOf("board", "weight", func(c *Config) *int { return &c.Board.Weight }, checkInt(1, 1000),
			"Share of the pages that this board owns, relative to the weights of the other boards, 1 to 1000. "+
				"With 100 for an original Pi, a faster board can have 400."),
		keyOf("http", "listen", func(c *Config) *string { return &c.HTTP.Listen }, checkListen,
			"Address of the public pages, host:port; without a host, every address of the board. "+
				"Browsers use port 80."),
		keyOf("http", "header_timeout", func(c *Config) *Duration { return &c.HTTP.HeaderTimeout }, checkDuration(100*time.Millisecond, 5*time.Minute),
			"Time a client has to send a request's header, 100ms to 5m. "+
				"10s is enough for a bad mobile line, and limits what slow connections can hold."),
		keyOf("http", "idle_timeout", func(c *Config) *Duration { return &c.HTTP.IdleTimeout }, checkDuration(time.Second, time.Hour),
			"Time a connection may wait for its next request, 1s to 1h. "+
				"60s covers a person's pause between two pages."),
		keyOf("http", "write_timeout", func(c *Config) *Duration { return &c.HTTP.WriteTimeout }, checkDuration(time.Second, time.Hour),
			"Time that one whole reply may take, 1s to 1h. "+
				"60s sends 1MB even at 140 kbit/s; a slower client holds memory that others need."),
		keyOf("http", "max_connections", func(c *Config) *int { return &c.HTTP.MaxConnections }, checkInt(1, 1_000_000),
			"Open connections from clients at the same time, 1 to 1000000. "+
				"An idle one takes half a kB here and 3.5kB in the kernel, so 4096 connections and the cache leave a 256 MB board room for everything else. "+
				"The board lowers the number if the process may not open that many files."),
		keyOf("http", "drain_timeout", func(c *Config) *Duration { return &c.HTTP.DrainTimeout }, checkDuration(0, 5*time.Minute),
			"Time that replies in progress have to complete when the board stops, 0s to 5m. "+
				"10s completes all but the slowest, and limits the wait for the board."),
		keyOf("http", "accept_rate", func(c *Config) *int { return &c.HTTP.AcceptRate }, checkInt(0, maxRate),
			"New connections accepted per second, 0 to 100000; more wait in the kernel. "+
				"0 sets no limit: a board accepts as many as it can."),
		keyOf("http", "client_request_rate", func(c *Config) *int { return &c.HTTP.ClientRequestRate }, checkInt(0, maxRate),
			"Requests per second from one address, 0 to 100000. A burst may have twice the number; more get a 503. "+
				"0 sets no limit, because a whole school or a mobile network can be one address."),
		keyOf("http", "network_request_rate", func(c *Config) *int { return &c.HTTP.NetworkRequestRate }, checkInt(0, maxRate),
			"The same for all addresses of one network together, a /24 of IPv4 or a /64 of IPv6."),
		keyOf("http", "client_connection_rate", func(c *Config) *int { return &c.HTTP.ClientConnectionRate }, checkInt(0, maxRate),
			"New connections per second from one address, 0 to 100000; more are closed. 0 sets no limit."),
		keyOf("http", "network_connection_rate", func(c *Config) *int { return &c.HTTP.NetworkConnectionRate }, checkInt(0, maxRate),
			"The same for all addresses of one network together."),
		keyOf("http", "client_form_rate", func(c *Config) *int { return &c.HTTP.ClientFormRate }, checkInt(0, maxRate),
			"Forms of the built-in shop (orders, entries, registrations, cancellations and the like) per minute from one IPv4 address or one /64 of IPv6, over the whole rack, 0 to 100000. "+
				"20 seconds' worth may come at once; more get a 429 with what was typed and a button. With 300 a school of 1,000 behind one address has ordered after three and a half minutes, "+
				"and a script gets 110 of 500 units in the first two seconds. Clients behind a proxy count as one unless trusted_proxies in [origin] has it. 0 sets no limit."),
		keyOf("http", "network_form_rate", func(c *Config) *int { return &c.HTTP.NetworkFormRate }, checkInt(0, maxRate),
			"The same for all addresses of one network together, a /24 of IPv4 or a /48 of IPv6: twice a client's, because several schools or a village can be one network."),
		keyOf("http", "max_requests", func(c *Config) *int { return &c.HTTP.MaxRequests }, checkInt(0, maxRate),
			"Requests in progress that memory cannot answer, 0 to 100000. Four times as many may wait for up to 2 s; the rest get a 503. With several sites one gets at most half of them. "+
				"0 uses an eighth of the memory that the cache leaves, at 64kB per request: 138 on a 256 MB board."),
		keyOf("http", "body_timeout", func(c *Config) *Duration { return &c.HTTP.BodyTimeout }, checkDuration(time.Second, time.Hour),
			"Time that a request body, such as a form, may be behind min_body_rate, 1s to 1h; then the client gets a 408. "+
				"5s covers a gap in a bad mobile line. It shrinks to 1s while very many clients send slowly."),
		keyOf("http", "min_body_rate", func(c *Config) *Size { return &c.HTTP.MinBodyRate }, checkSize(0, GB),
			"Bytes per second at which a request body must arrive, 0 to 1GB; all of it within write_timeout. "+
				"1kB is slower than any line that loads a page; 0 sets no limit."),
		keyOf("console", "listen", func(c *Config) *string { return &c.Console.Listen }, checkListen,
			"Address of console, API, metrics and health, host:port. It speaks https, with a certificate of the rack's own or the one that [tls] has for a host name; on a loopback address plain http. "+
				"It is a port of its own so that a firewall can keep the public out."),
		keyOf("console", "password", func(c *Config) *string { return &c.Console.Password }, nil,
			"Password of the console's account bramble, which may do everything: 8 to 200 characters, and not the rack key; or its hash, which \"bramble console password\" prints. "+
				"Empty, and without accounts: every client that reaches the listener may read, and only the board's own user may make changes, by commands on the board.").
			asSecret(byRekey).checkedBy(func(c *Config) string { return CheckPassword(c, c.Console.Password) }),
		keyOf("console", "accounts", func(c *Config) *[]ConsoleAccount { return &c.Console.Accounts }, nil,
			"More accounts, at most 32: tables [[console.accounts]] with name, role and password. The role is look (read what has no people's data), shop (also orders, parcels and stock) or steer (everything). "+
				"The password is as above, or the hash of a token for a program, which \"bramble console token\" prints. The audit trail has the account's name.").
			asSecret(byRekey).checkedBy(checkAccounts),
		keyOf("rack", "key", func(c *Config) *RackKey { return &c.Rack.Key }, nil,
			`The secret that boards of one rack share, the same on every board: the line that "bramble key" prints. `+
				"It has no default, because a default would be public.").
			withDefault("none, it must be set").asSecret(byRekey),
		keyOf("rack", "old_keys", func(c *Config) *[]RackKey { return &c.Rack.OldKeys }, nil,
			"Keys accepted besides key while you change it, at most 4. "+
				"Empty except during that change.").
			asSecret(byRekey).checkedBy(func(c *Config) string { return checkCount(len(c.Rack.OldKeys), maxOldKeys, "keys") }),
		keyOf("rack", "gossip_listen", func(c *Config) *string { return &c.Rack.GossipListen }, checkListen,
			"Address where boards exchange membership messages, host:port, both UDP and TCP. "+
				"7946 is the default port of memberlist, the library for it."),
		keyOf("rack", "link_listen", func(c *Config) *string { return &c.Rack.LinkListen }, checkListen,
			"Address where boards send each other pages, host:port, TLS over TCP. "+
				"The default is the port next to that of gossip."),
		keyOf("rack", "advertise", func(c *Config) *string { return &c.Rack.Advertise }, ifSet(checkIP),
			"The IP address at which the other boards reach this one. "+
				"Set it only if the board has several and finds the wrong one.").
			withDefault("found automatically"),
		keyOf("rack", "join", func(c *Config) *[]string { return &c.Rack.Join }, checkList(maxJoin, "addresses", checkJoin),
			"Gossip addresses of other boards, host or host:port, at most 64; the port is 7946 if left out. "+
				"One that answers is enough. Leave it empty where mDNS finds the rack."),
		keyOf("rack", "mdns", func(c *Config) *bool { return &c.Rack.MDNS }, nil,
			"Whether to find the rack on the local network by mDNS. "+
				"On, so that a new card needs no address; turn it off where multicast is not welcome."),
		keyOf("rack", "peer_timeout", func(c *Config) *Duration { return &c.Rack.PeerTimeout }, checkDuration(100*time.Millisecond, 30*time.Second),
			"Time that a request waits for an answer from another board, 100ms to 30s; then the board fetches from the origin. "+
				"1s is more than a busy Pi takes, and shoppers still wait that long."),
		keyOf("rack", "forget_after", func(c *Config) *Duration { return &c.Rack.ForgetAfter }, checkDuration(time.Minute, 168*time.Hour),
			"Time that a dead board stays on the list and its address is tried, 1m to 168h. "+
				"10m is longer than it takes to change a plug or a card."),
		keyOf("rack", "expected_boards", func(c *Config) *int { return &c.Rack.ExpectedBoards }, checkInt(1, 1000),
			"Number of boards that the rack is planned to have, 1 to 1000. A board uses it only until the rack has a ledger; \"bramble rekey\" does not begin with fewer. "+
				"The ledger is founded when all of them see each other: a missing board may have the rack's orders. If some are missing for good, \"bramble ledger found\" founds it with more than half of that number. It must not be less than the number of boards that you switch on."),
		keyOf("cache", "memory", func(c *Config) *Size { return &c.Cache.Memory }, checkSize(2*MB, 1000*GB),
			"Memory for stored pages, bookkeeping included, 2MB to 1000GB. MB is a million bytes, MiB is 1048576. "+
				"64MB leaves a 256 MB board room for connections and the system."),
		keyOf("cache", "max_object", func(c *Config) *Size { return &c.Cache.MaxObject }, nil,
			"The largest page that is stored, 1kB to a sixteenth of memory; larger ones pass through. "+
				"1MB, or the sixteenth if that is less, holds any page or picture of a shop, and no download evicts the pages.").
			checkedBy(checkMaxObject),
		keyOf("cache", "cache_status_header", func(c *Config) *bool { return &c.Cache.CacheStatusHeader }, nil,
			"Whether each reply has a Cache-Status field with the cache's decision (RFC 9211). "+
				"On, because it costs 60 bytes and answers most questions about a cache."),
		keyOf("cache", "client_cache_control", func(c *Config) *bool { return &c.Cache.ClientCacheControl }, nil,
			"Whether the cache applies no-cache, no-store, max-age, min-fresh and max-stale in a request. "+
				"Off, because otherwise a crowd that presses F5 would reach the origin."),
		keyOf("cache", "store_set_cookie", func(c *Config) *bool { return &c.Cache.StoreSetCookie }, nil,
			"Whether Set-Cookie is stored with a page that says public or s-maxage, and sent to every reader. "+
				"Off, because it hands one visitor's session to everybody."),
		keyOf("cache", "stale_if_error", func(c *Config) *Duration { return &c.Cache.StaleIfError }, checkDuration(0, 720*time.Hour),
			"Time past its lifetime that a page is served when its origin fails, if the page itself sets no stale-if-error (RFC 5861), 0s to 720h. "+
				"24h, because at a launch an old page is better than none; 0s never serves one."),
		keyOf("cache", "compress", func(c *Config) *bool { return &c.Cache.Compress }, nil,
			"Whether text that an origin sends uncompressed is also stored gzipped, once, for clients that accept it. "+
				"Off: it pays only where the line is slower than a first Pi, which compresses about 3MB per second."),
		keyOf("cache", "max_variants", func(c *Config) *int { return &c.Cache.MaxVariants }, checkInt(1, 256),
			"Stored variants of one page (Vary), 1 to 256; a new one replaces the oldest. "+
				"16 are enough for languages and encodings, and limit the memory of a page that varies on User-Agent."),
		keyOf("shop", "catalogue", func(c *Config) *string { return &c.Shop.Catalogue }, nil,
			"Catalogue file of the shop; a relative path starts at the directory of bramble.toml. "+
				"Empty: the launch of 29 February 2012, so that there is something to see.").
			withDefault(`"", the built-in launch`),
		keyOf("log", "level", func(c *Config) *string { return &c.Log.Level }, checkOneOf("debug", "info", "warn", "error"),
			"The least severe messages that are logged: debug, info, warn or error. "+
				"info logs what happens to the rack, and nothing per request."),
		keyOf("log", "format", func(c *Config) *string { return &c.Log.Format }, checkOneOf("text", "json"),
			"Format of a line: text for people, json for machines. "+
				"text, because a person is the first reader."),
	}
}
