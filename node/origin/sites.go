package origin

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bramble/node/config"
	"bramble/node/proxyfields"
)

// builtInHost is the host in the built-in shop's cache keys if no [[site]] names
// one. All boards must use the same host, whatever address a client uses.
const builtInHost = "shop.bramble"

// Options are the parameters of Sites besides the configuration.
type Options struct {
	// Shop is the built-in shop's handler; unused if no site is the built-in shop.
	Shop http.Handler
	// Via is the rack's name in the Via field of its requests, by which it
	// recognises a loop: the same on all its boards, different on every other rack.
	Via    string
	Logger *slog.Logger
}

// Sites are all web sites that a rack serves, with all their names. A request to
// an origin always carries its site's own name, so that a reply cannot depend
// on the client's Host, and all boards share one cache key.
type Sites struct {
	via             string
	believed        proxyfields.Table
	shop            builtIn
	builtInRequests atomic.Int64 // pages rendered by the built-in shop
	sites           []*site      // the default site first
	byName          map[string]*site
	byKey           map[string]*site // by scheme://host
	wildcards       []wildcardName   // longest first
	servers         []*originServer

	mu            sync.Mutex // guards what follows
	stability     rackStability
	permitHolders map[*originServer][]string // other boards with permits
}

// site is one web site: its part of the cache key, and its server.
type site struct {
	scheme, host string
	cfg          config.OriginSettings
	proxies      []netip.Prefix
	server       *originServer // nil = the built-in shop
}

type wildcardName struct {
	suffix string // with its leading dot
	site   *site
}

// WantsShop reports whether one of the sites is the built-in shop.
func WantsShop(cfg *config.Config) bool {
	return cfg.Origin.URL == "" || slices.ContainsFunc(cfg.Sites, func(s config.SiteSettings) bool { return s.Origin.URL == "" })
}

// New returns the sites of a configuration. No server gets a request before
// SharePermits has given this board a permit.
func New(cfg *config.Config, opts Options) (*Sites, error) {
	s := &Sites{
		via: opts.Via, believed: proxyfields.New(), shop: builtIn{opts.Shop},
		byName: map[string]*site{}, byKey: map[string]*site{}, permitHolders: map[*originServer][]string{},
	}
	if _, err := s.addSite("", cfg.Origin, opts.Logger); err != nil {
		return nil, err
	}
	for _, cfgSite := range cfg.Sites {
		found, err := s.addSite(cfgSite.Host, cfgSite.Origin, opts.Logger)
		if err != nil {
			return nil, err
		}
		for _, name := range append([]string{cfgSite.Host}, cfgSite.Aliases...) {
			base, wild := strings.CutPrefix(name, "*.")
			_, full, err := hostName(base)
			switch {
			case err != nil:
				return nil, err
			case wild:
				s.wildcards = append(s.wildcards, wildcardName{"." + full, found})
			case s.byName[full] != nil:
				return nil, fmt.Errorf("two sites have the name %s", full)
			default:
				s.byName[full] = found
			}
		}
	}
	slices.SortStableFunc(s.wildcards, func(a, b wildcardName) int { return len(b.suffix) - len(a.suffix) })
	return s, nil
}

// addSite adds a site. Without a host it has its server's name.
func (s *Sites) addSite(host string, cfg config.OriginSettings, log *slog.Logger) (*site, error) {
	found := &site{scheme: "http", host: builtInHost, cfg: cfg}
	if cfg.URL != "" {
		base, err := url.Parse(cfg.URL)
		if err != nil {
			return nil, fmt.Errorf("[origin] url: %w", err)
		}
		found.scheme = base.Scheme
		found.host = strings.TrimSuffix(strings.ToLower(base.Host), map[string]string{"http": ":80", "https": ":443"}[base.Scheme])
	}
	for _, text := range cfg.TrustedProxies {
		found.proxies = append(found.proxies, netip.MustParsePrefix(text)) // config has checked it
	}
	if host != "" {
		var err error
		if _, found.host, err = hostName(host); err != nil {
			return nil, err
		}
	}
	if cfg.URL != "" {
		at := slices.IndexFunc(s.servers, func(other *originServer) bool {
			return strings.TrimSuffix(other.cfg.URL, "/") == strings.TrimSuffix(cfg.URL, "/")
		})
		if at < 0 {
			server, err := newServer(cfg, found.host, s.via, log)
			if err != nil {
				return nil, err
			}
			at, s.servers = len(s.servers), append(s.servers, server)
		}
		found.server = s.servers[at]
	}
	key := found.scheme + "://" + found.host
	if other := s.byKey[key]; other != nil && other.server != found.server {
		return nil, fmt.Errorf("two servers would share the cache key %s: give one of them a [[site]] host of its own", key)
	}
	s.byKey[key] = found
	s.sites = append(s.sites, found)
	return found, nil
}

// siteForHost returns the site for a Host field. It is the default site if none
// has the name, or if there is no such field, as HTTP/1.0 allows.
func (s *Sites) siteForHost(host string) (*site, error) {
	if host == "" {
		return s.sites[0], nil
	}
	name, full, err := hostName(host)
	if err != nil {
		return nil, err
	}
	if found := s.byName[full]; found != nil {
		return found, nil
	}
	if found := s.byName[name]; found != nil {
		return found, nil
	}
	for _, w := range s.wildcards {
		if strings.HasSuffix(full, w.suffix) || strings.HasSuffix(name, w.suffix) {
			return w.site, nil
		}
	}
	return s.sites[0], nil
}

// SiteOf returns the name of the site for a Host field.
func (s *Sites) SiteOf(host string) string {
	found, err := s.siteForHost(host)
	if err != nil {
		return s.sites[0].host
	}
	return found.host
}

// siteForKey returns the site of a URL that RewriteForSite has made; nil if there is none.
func (s *Sites) siteForKey(u *url.URL) *site { return s.byKey[u.Scheme+"://"+u.Host] }

// Knows reports whether a URL is one that RewriteForSite makes. Another board, with
// other sites in its configuration, may request one that is unknown here.
func (s *Sites) Knows(u *url.URL) bool { return s.siteForKey(u) != nil }

// IsBuiltIn reports whether a URL that RewriteForSite has made is the built-in shop's.
func (s *Sites) IsBuiltIn(u *url.URL) bool {
	found := s.siteForKey(u)
	return found != nil && found.server == nil
}

// Invalidates reports whether an unsafe request to a URL that RewriteForSite has made
// makes stored pages out of date.
func (s *Sites) Invalidates(u *url.URL) bool {
	found := s.siteForKey(u)
	return found == nil || found.cfg.Invalidate
}

// Fetch sends a request that RewriteForSite makes to its origin; it is the cache's
// Upstream. Errors match ErrDown, ErrSlow, ErrBusy or ErrMalformed.
func (s *Sites) Fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	found := s.siteForKey(r.URL)
	switch {
	case found == nil:
		return nil, fmt.Errorf("origin: %s: %w", r.URL.Host, ErrTarget)
	case found.server == nil:
		s.builtInRequests.Add(1)
		return s.shop.fetch(ctx, r)
	default:
		return found.server.fetch(ctx, r)
	}
}

// Run watches the health of the servers until ctx ends.
func (s *Sites) Run(ctx context.Context) {
	var watches sync.WaitGroup
	for _, server := range s.servers {
		watches.Go(func() { server.watchHealth(ctx) })
	}
	watches.Wait()
	for _, server := range s.servers {
		server.currentTransport().CloseIdleConnections()
	}
}

// SharePermits sets this board's part of each server's permits. members is the
// rack, sorted by name and with this board. A smaller part counts at once, a
// larger one when the members have been stable for RebalanceDelay, or at once
// if this board expects no others. It must be called whenever the rack changes,
// and every second. It reports whether this board has its whole part.
func (s *Sites) SharePermits(self string, members []RackMember, alone bool, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	stable := s.stability.observe(members, now) || alone
	for _, server := range s.servers {
		own, holders := dividePermits(server.cfg.MaxConcurrent, members, self)
		s.permitHolders[server] = holders
		if stable || own < server.permits.size() {
			server.setLimit(own)
		}
	}
	return stable
}

// PermitHolders returns the boards that can relay a request, if this board has no
// permit for the request's server, and for how long to try to reach one of them.
func (s *Sites) PermitHolders(u *url.URL) (boards []string, timeout time.Duration) {
	found := s.siteForKey(u)
	if found == nil || found.server == nil || found.server.permits.size() > 0 {
		return nil, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.permitHolders[found.server], time.Duration(found.server.cfg.QueueTimeout)
}

// HasServers reports whether any site has a server, and so permits.
func (s *Sites) HasServers() bool { return len(s.servers) > 0 }

// Requests returns the number of requests sent to servers and to the built-in shop.
func (s *Sites) Requests() int64 {
	return s.builtInRequests.Load() + s.sumServers(func(server *originServer) int64 { return server.requests.Load() })
}

// Failures returns the number of fetches that ended in 502, 503, 504 or an error.
func (s *Sites) Failures() int64 {
	return s.sumServers(func(server *originServer) int64 { return server.failures.Load() })
}

// Permits returns the number of this board's permits for all servers together.
func (s *Sites) Permits() int64 {
	return s.sumServers(func(server *originServer) int64 { return int64(server.permits.size()) })
}

// sumServers adds up a figure of all servers.
func (s *Sites) sumServers(of func(*originServer) int64) int64 {
	var n int64
	for _, server := range s.servers {
		n += of(server)
	}
	return n
}

// Down returns the URLs of the servers that are down.
func (s *Sites) Down() []string {
	var names []string
	for _, server := range s.servers {
		if server.health.isDown() {
			names = append(names, server.cfg.URL)
		}
	}
	return names
}
