package config

import "time"

// originKey is one key of [origin]; [[site]] has the same.
type originKey struct {
	key, doc, fallback string
	at                 func(*OriginSettings) any
	check              func(*OriginSettings) string
}

// originTableKeys are the keys of [origin].
func originTableKeys() []keySpec {
	var list []keySpec
	for _, k := range originKeys() {
		s := keySpec{
			table: "origin", key: k.key, doc: k.doc, defaultText: k.fallback,
			at: func(c *Config) any { return k.at(&c.Origin) },
		}
		if k.check != nil {
			s.check = func(c *Config) string { return k.check(&c.Origin) }
		}
		list = append(list, s)
	}
	return list
}

// siteKeys are the keys of [[site]]: its names, and those of [origin].
func siteKeys() []keySpec {
	list := []keySpec{
		{
			table: "site", key: "host", defaultText: "none, it must be set",
			doc: `The site's own host name, such as "shop.example". The board sends it to the origin and stores the pages under it. ` +
				"Add a port only if clients must use that port; without one any port matches.",
			atSite:    func(s *SiteSettings) any { return &s.Host },
			checkSite: func(s *SiteSettings) string { return checkSiteHost(s.Host) },
		}, {
			table: "site", key: "aliases",
			doc: `Other host names of this site, at most 64; "*.shop.example" matches every name with that ending. ` +
				"The pages are the same under each, and stored once.",
			atSite:    func(s *SiteSettings) any { return &s.Aliases },
			checkSite: func(s *SiteSettings) string { return checkAliases(s.Aliases) },
		},
	}
	for _, k := range originKeys() {
		s := keySpec{
			table: "site", key: k.key, defaultText: "as in [origin]", doc: "Like [origin] " + k.key + ", for this site.",
			atSite: func(s *SiteSettings) any { return k.at(&s.Origin) },
		}
		if k.check != nil {
			s.checkSite = func(s *SiteSettings) string { return k.check(&s.Origin) }
		}
		list = append(list, s)
	}
	return list
}

func originKeys() []originKey {
	return []originKey{
		{
			key: "url", fallback: `"", the built-in shop`,
			doc: `Web server whose pages are cached: "http://host:port" or "https://host". ` +
				"Empty: the built-in shop, so that a rack serves something at once.",
			at:    func(o *OriginSettings) any { return &o.URL },
			check: func(o *OriginSettings) string { return checkOrigin(o.URL) },
		}, {
			key: "connect_timeout",
			doc: "Time that opening a connection to the origin may take, 10ms to 1m. " +
				"2s allows for one lost packet and its retransmission.",
			at: func(o *OriginSettings) any { return &o.ConnectTimeout },
			check: func(o *OriginSettings) string {
				return checkDuration(o.ConnectTimeout, 10*time.Millisecond, time.Minute)
			},
		}, {
			key: "reply_timeout",
			doc: "Time that the origin has to begin its reply, 10ms to 10m. " +
				"10s is more than a shopper waits; then clients get a stale page or a plain 504.",
			at: func(o *OriginSettings) any { return &o.ReplyTimeout },
			check: func(o *OriginSettings) string {
				return checkDuration(o.ReplyTimeout, 10*time.Millisecond, 10*time.Minute)
			},
		}, {
			key: "idle_timeout",
			doc: "Time that the origin may pause within a reply, 10ms to 10m. " +
				"10s, so that a large file can be slow but a hung server is noticed.",
			at: func(o *OriginSettings) any { return &o.IdleTimeout },
			check: func(o *OriginSettings) string {
				return checkDuration(o.IdleTimeout, 10*time.Millisecond, 10*time.Minute)
			},
		}, {
			key: "max_concurrent",
			doc: "Requests, and connections, that the whole rack makes to the origin at the same time, 1 to 10000; more queue. Each board has its share. " +
				"128 suits a common web server; of these, five boards have 25 each for pages that belong to one client alone. " +
				"Use at least as many as there are boards, because boards beyond that number fetch through another.",
			at:    func(o *OriginSettings) any { return &o.MaxConcurrent },
			check: func(o *OriginSettings) string { return checkInt(o.MaxConcurrent, 1, 10_000) },
		}, {
			key: "queue_timeout",
			doc: "Time that a request may queue for the origin, 0s to 1m; then the client gets a stale page or a plain 503. " +
				"After 5s a shopper presses F5.",
			at:    func(o *OriginSettings) any { return &o.QueueTimeout },
			check: func(o *OriginSettings) string { return checkDuration(o.QueueTimeout, 0, time.Minute) },
		}, {
			key: "health_path", fallback: `"", no regular check`,
			doc: `Path that every board requests regularly to check the origin, such as "/health"; a status below 400 is healthy. ` +
				"Empty: an origin counts as down when it cannot be reached, or answers neither a page nor a HEAD of /. It is then tried each second.",
			at:    func(o *OriginSettings) any { return &o.HealthPath },
			check: func(o *OriginSettings) string { return checkHealthPath(o.HealthPath) },
		}, {
			key: "health_interval",
			doc: "Interval between two such checks, 100ms to 10m. " +
				"5s finds a dead origin, after two failures, before most shoppers do; five boards together then check it once per second.",
			at: func(o *OriginSettings) any { return &o.HealthInterval },
			check: func(o *OriginSettings) string {
				return checkDuration(o.HealthInterval, 100*time.Millisecond, 10*time.Minute)
			},
		}, {
			key: "health_timeout",
			doc: "Time that the answer to a check may take, 10ms to 1m. " +
				"2s is more than a working server takes for a health page.",
			at: func(o *OriginSettings) any { return &o.HealthTimeout },
			check: func(o *OriginSettings) string {
				return checkDuration(o.HealthTimeout, 10*time.Millisecond, time.Minute)
			},
		},
	}
}
