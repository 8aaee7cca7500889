package origin

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bramble/node/config"
)

// builtInHost is the host in the built-in shop's cache keys where no [[site]]
// names one. All boards must use the same, whatever address a client calls
// them by.
const builtInHost = "shop.bramble"

// Options are what a Set needs beside the configuration.
type Options struct {
	// Shop answers for the built-in shop; not used if no site is it.
	Shop http.Handler
	// Via is how the rack signs the requests that it sends, to know them again:
	// the same on all of its boards, and another on every other rack.
	Via    string
	Logger *slog.Logger
}

// Sites is all web sites that a rack serves, under whatever names clients reach
// them. An origin is always asked by its site's own name, so that a reply
// cannot depend on what a client put into Host, and all boards share a key.
type Sites struct {
	via             string
	shop            builtIn
	builtInRequests atomic.Int64 // pages that the built-in shop made
	sites           []*site      // the default one first
	byName          map[string]*site
	byKey           map[string]*site // by scheme://host
	wildcards       []wildcardName   // the longest first
	servers         []*originServer

	mu            sync.Mutex // guards what follows
	stability     rackStability
	permitHolders map[*originServer][]string // other boards that have places
}

// site is one web site: what its pages are kept under, and who has them.
type site struct {
	scheme, host string
	server       *originServer // nil = the built-in shop
}

type wildcardName struct {
	suffix string // with its dot
	site   *site
}

// WantsShop reports whether one of the sites is the built-in shop.
func WantsShop(cfg *config.Config) bool {
	return cfg.Origin.URL == "" || slices.ContainsFunc(cfg.Sites, func(s config.SiteSettings) bool { return s.Origin.URL == "" })
}

// New makes the sites of a configuration. No server is asked anything before
// Share has given this board a place there.
func New(cfg *config.Config, opts Options) (*Sites, error) {
	s := &Sites{
		via: opts.Via, shop: builtIn{opts.Shop},
		byName: map[string]*site{}, byKey: map[string]*site{}, permitHolders: map[*originServer][]string{},
	}
	if _, err := s.addSite("", cfg.Origin, opts.Logger); err != nil {
		return nil, err
	}
	for _, one := range cfg.Sites {
		where, err := s.addSite(one.Host, one.Origin, opts.Logger)
		if err != nil {
			return nil, err
		}
		for _, name := range append([]string{one.Host}, one.Aliases...) {
			base, wild := strings.CutPrefix(name, "*.")
			_, full, err := hostName(base)
			switch {
			case err != nil:
				return nil, err
			case wild:
				s.wildcards = append(s.wildcards, wildcardName{"." + full, where})
			case s.byName[full] != nil:
				return nil, fmt.Errorf("two sites have the name %s", full)
			default:
				s.byName[full] = where
			}
		}
	}
	slices.SortStableFunc(s.wildcards, func(a, b wildcardName) int { return len(b.suffix) - len(a.suffix) })
	return s, nil
}

// addSite makes a site. Without a host it is called as its server is.
func (s *Sites) addSite(host string, cfg config.OriginSettings, log *slog.Logger) (*site, error) {
	where := &site{scheme: "http", host: builtInHost}
	if cfg.URL != "" {
		base, err := url.Parse(cfg.URL)
		if err != nil {
			return nil, fmt.Errorf("[origin] url: %w", err)
		}
		where.scheme = base.Scheme
		where.host = strings.TrimSuffix(strings.ToLower(base.Host), map[string]string{"http": ":80", "https": ":443"}[base.Scheme])
	}
	if host != "" {
		var err error
		if _, where.host, err = hostName(host); err != nil {
			return nil, err
		}
	}
	if cfg.URL != "" {
		at := slices.IndexFunc(s.servers, func(other *originServer) bool {
			return strings.TrimSuffix(other.cfg.URL, "/") == strings.TrimSuffix(cfg.URL, "/")
		})
		if at < 0 {
			one, err := newServer(cfg, where.host, s.via, log)
			if err != nil {
				return nil, err
			}
			at, s.servers = len(s.servers), append(s.servers, one)
		}
		where.server = s.servers[at]
	}
	key := where.scheme + "://" + where.host
	if other := s.byKey[key]; other != nil && other.server != where.server {
		return nil, fmt.Errorf("pages of two servers would be kept under %s: give one of them a [[site]] host of its own", key)
	}
	s.byKey[key] = where
	s.sites = append(s.sites, where)
	return where, nil
}

// siteForHost returns the site that a Host field means, the default one if none has
// the name or there is no such field, as HTTP/1.0 allows.
func (s *Sites) siteForHost(host string) (*site, error) {
	if host == "" {
		return s.sites[0], nil
	}
	name, full, err := hostName(host)
	if err != nil {
		return nil, err
	}
	if where := s.byName[full]; where != nil {
		return where, nil
	}
	if where := s.byName[name]; where != nil {
		return where, nil
	}
	for _, w := range s.wildcards {
		if strings.HasSuffix(full, w.suffix) || strings.HasSuffix(name, w.suffix) {
			return w.site, nil
		}
	}
	return s.sites[0], nil
}

func (s *Sites) siteForKey(u *url.URL) *site { return s.byKey[u.Scheme+"://"+u.Host] }

// Knows reports whether a URL is one that Request makes: another board, with
// other sites in its file, may ask for what is none here.
func (s *Sites) Knows(u *url.URL) bool { return s.siteForKey(u) != nil }

// IsBuiltIn reports whether a URL that Request has made is the built-in shop's.
func (s *Sites) IsBuiltIn(u *url.URL) bool {
	where := s.siteForKey(u)
	return where != nil && where.server == nil
}

// Fetch asks the origin of a request that Request has made; it is the cache's
// Upstream. Errors match ErrDown, ErrSlow, ErrBusy or ErrMalformed.
func (s *Sites) Fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	where := s.siteForKey(r.URL)
	switch {
	case where == nil:
		return nil, fmt.Errorf("origin: %s: %w", r.URL.Host, ErrTarget)
	case where.server == nil:
		s.builtInRequests.Add(1)
		return s.shop.fetch(ctx, r)
	default:
		return where.server.fetch(ctx, r)
	}
}

// Run watches over the servers until ctx ends.
func (s *Sites) Run(ctx context.Context) {
	var watches sync.WaitGroup
	for _, one := range s.servers {
		watches.Go(func() { one.watchHealth(ctx) })
	}
	watches.Wait()
	for _, one := range s.servers {
		one.currentTransport().CloseIdleConnections()
	}
}

// SharePermits tells who is in the rack, sorted by name and this board among them, and
// gives this board its part of each server's places: a smaller one at once, a
// larger one when the rack has stood still for ShareSettle, or at once if this
// board expects no others. It is to be called whenever the rack changes and
// every second. It reports whether this board has all that it may have.
func (s *Sites) SharePermits(self string, boards []RackMember, alone bool, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	settled := s.stability.observe(boards, now) || alone
	for _, one := range s.servers {
		mine, holders := dividePermits(one.cfg.MaxConcurrent, boards, self)
		s.permitHolders[one] = holders
		if settled || mine < one.permits.size() {
			one.setLimit(mine)
		}
	}
	return settled
}

// PermitHolders returns the other boards through which a request may be sent on, if
// this board has no place at the request's server now, and how long it may look
// for one that answers.
func (s *Sites) PermitHolders(u *url.URL) (boards []string, patience time.Duration) {
	where := s.siteForKey(u)
	if where == nil || where.server == nil || where.server.permits.size() > 0 {
		return nil, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.permitHolders[where.server], time.Duration(where.server.cfg.QueueTimeout)
}

// HasServers reports whether any site has a server with a bounded number of places.
func (s *Sites) HasServers() bool { return len(s.servers) > 0 }

// Requests counts the requests that servers were sent, and pages of the built-in shop.
func (s *Sites) Requests() int64 {
	return s.builtInRequests.Load() + s.sumServers(func(one *originServer) int64 { return one.requests.Load() })
}

// Failures counts the fetches of which nothing came but 502, 503, 504 or an error.
func (s *Sites) Failures() int64 {
	return s.sumServers(func(one *originServer) int64 { return one.failures.Load() })
}

// Permits counts the places that this board has, at all servers together.
func (s *Sites) Permits() int64 {
	return s.sumServers(func(one *originServer) int64 { return int64(one.permits.size()) })
}

func (s *Sites) sumServers(of func(*originServer) int64) int64 {
	var n int64
	for _, one := range s.servers {
		n += of(one)
	}
	return n
}

// Down names the servers that are down or whose last answer was none.
func (s *Sites) Down() []string {
	var names []string
	for _, one := range s.servers {
		if one.failing.Load() || one.health.downReason() != nil {
			names = append(names, one.cfg.URL)
		}
	}
	return names
}
