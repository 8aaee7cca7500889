package config

import "time"

// originKeyOf describes a key of [origin], which [[site]] has too; fallback is its default in words, if its literal
// would mislead.
func originKeyOf[T any](key, fallback string, at func(*OriginSettings) *T, check func(T) string, doc string) keySpec {
	of := func(c *Config, site *SiteSettings) *T {
		if site != nil {
			return at(&site.Origin)
		}
		return at(&c.Origin)
	}
	return keySpec{
		table: "origin", key: key, doc: doc, defaultText: fallback,
		at:    func(c *Config, site *SiteSettings) any { return of(c, site) },
		check: func(c *Config, site *SiteSettings) string { return check(*of(c, site)) },
	}
}

// siteKeys are the keys of [[site]]: its names, and those of [origin].
func siteKeys() []keySpec {
	list := []keySpec{
		{
			table: "site", key: "host", defaultText: "none, it must be set",
			doc: `The site's own host name, such as "shop.example". The board sends it to the origin and stores the pages under it. ` +
				"Add a port only if clients must use that port; without one any port matches.",
			at:    func(_ *Config, s *SiteSettings) any { return &s.Host },
			check: func(_ *Config, s *SiteSettings) string { return checkSiteHost(s.Host) },
		}, {
			table: "site", key: "aliases",
			doc: `Other host names of this site, at most 64; "*.shop.example" matches every name with that ending. ` +
				"The pages are the same under each, and stored once.",
			at:    func(_ *Config, s *SiteSettings) any { return &s.Aliases },
			check: func(_ *Config, s *SiteSettings) string { return checkList(maxAliases, "names", checkAlias)(s.Aliases) },
		},
	}
	for _, k := range originKeys() {
		k.table, k.defaultText, k.doc = "site", "as in [origin]", "Like [origin] "+k.key+", for this site."
		list = append(list, k)
	}
	return list
}

func originKeys() []keySpec {
	return []keySpec{
		originKeyOf("url", `"", the built-in shop`, func(o *OriginSettings) *string { return &o.URL }, ifSet(checkOrigin),
			`Web server whose pages are cached: "http://host:port" or "https://host". `+
				"Empty: the built-in shop, so that a rack serves something at once."),
		originKeyOf("connect_timeout", "", func(o *OriginSettings) *Duration { return &o.ConnectTimeout }, checkDuration(10*time.Millisecond, time.Minute),
			"Time that opening a connection to the origin may take, 10ms to 1m. "+
				"2s allows for one lost packet and its retransmission."),
		originKeyOf("reply_timeout", "", func(o *OriginSettings) *Duration { return &o.ReplyTimeout }, checkDuration(10*time.Millisecond, 10*time.Minute),
			"Time that the origin has to begin its reply, 10ms to 10m. "+
				"10s is more than a shopper waits; then clients get a stale page or a plain 504."),
		originKeyOf("idle_timeout", "", func(o *OriginSettings) *Duration { return &o.IdleTimeout }, checkDuration(10*time.Millisecond, 10*time.Minute),
			"Time that the origin may pause within a reply, 10ms to 10m. "+
				"10s, so that a large file can be slow but a hung server is noticed."),
		originKeyOf("max_concurrent", "", func(o *OriginSettings) *int { return &o.MaxConcurrent }, checkInt(1, 10_000),
			"Requests, and connections, that the whole rack makes to the origin at the same time, 1 to 10000; more queue. Each board has its share. "+
				"128 suits a common web server; of these, five boards have 25 each for pages that belong to one client alone. "+
				"Use at least as many as there are boards, because boards beyond that number fetch through another."),
		originKeyOf("queue_timeout", "", func(o *OriginSettings) *Duration { return &o.QueueTimeout }, checkDuration(0, time.Minute),
			"Time that a request may queue for the origin, 0s to 1m; then the client gets a stale page or a plain 503. "+
				"After 5s a shopper presses F5."),
		originKeyOf("health_path", `"", no regular check`, func(o *OriginSettings) *string { return &o.HealthPath }, ifSet(checkHealthPath),
			`Path that every board requests regularly to check the origin, such as "/health"; a status below 400 is healthy. `+
				"Empty: an origin counts as down when it cannot be reached, or answers neither a page nor a HEAD of / (502, 503, 504 and broken replies are no answers). It is then tried every 1 to 4 s."),
		originKeyOf("health_interval", "", func(o *OriginSettings) *Duration { return &o.HealthInterval }, checkDuration(100*time.Millisecond, 10*time.Minute),
			"Interval between two such checks, 100ms to 10m. "+
				"5s finds a dead origin, after two failures, before most shoppers do; five boards together then check it once per second."),
		originKeyOf("health_timeout", "", func(o *OriginSettings) *Duration { return &o.HealthTimeout }, checkDuration(10*time.Millisecond, time.Minute),
			"Time that the answer to a check may take, 10ms to 1m. "+
				"2s is more than a working server takes for a health page."),
		originKeyOf("invalidate", "", func(o *OriginSettings) *bool { return &o.Invalidate }, func(bool) string { return "" },
			"Whether a request that may change a page (POST, PUT, DELETE and the like) and succeeds makes the stored page out of date, true or false. "+
				"False suits a site that purges what changes; then no visitor's form can make readers wait for the origin."),
		originKeyOf("methods", "", func(o *OriginSettings) *[]string { return &o.Methods }, checkList(maxMethods, "methods", checkMethod),
			`Methods that the origin may get besides GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS, at most 32, such as "PROPFIND" and "MKCOL" for WebDAV. `+
				"Any other is answered with 501."),
		originKeyOf("trusted_proxies", "", func(o *OriginSettings) *[]string { return &o.TrustedProxies }, checkList(maxProxies, "networks", checkProxy),
			`Addresses of your own proxies in front of the rack, at most 64, such as "192.0.2.7/32" or "10.1.0.0/16". What they say about a client `+
				"(X-Forwarded-For, Remote-User and the like) is passed on to the origin; from anybody else it is removed. "+
				"The origin must then mark pages that depend on it as private. The built-in shop counts the forms of the client that X-Forwarded-For names."),
	}
}
