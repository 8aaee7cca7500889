// Package console is the web page on which operators and a class watch and steer the
// rack, with its API, its health checks and its metrics. It knows the rack only
// through the small interfaces in source.go, so that a board, a lab and a test can
// each show their own.
package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// Config is what a Console is made of.
type Config struct {
	Source  RackSource // what the rack looks like; required
	Control Control    // purge and drain; required
	Lab     Lab        // stop, kill, pause and revive; nil on a real board

	Shop http.Handler // answers requests below ShopPath: orders, sales, announcements; nil: there is no shop here
	Card http.Handler // answers requests below CardPath: a card's slots, and updates; nil: the board runs from no card
	// Secrets answers SecretsPath, to everybody: each change must be signed, with a key that no
	// board has. Nil: the board's secrets cannot be changed here.
	Secrets http.Handler

	Ready        func() (ok bool, reason string) // whether clients may be sent to the board, and why not; nil: always
	WriteMetrics func(io.Writer)                 // in Prometheus' text format; nil: there is no /metrics

	// Password, or the hash of one, is the secret of the account UserName. Without it and
	// Accounts every client may read, and only clients of the unix socket may steer. Otherwise
	// everything but /healthz and /readyz needs an account, by HTTP Basic, or its token.
	Password    string
	Accounts    []Account
	LocalSteers bool // without accounts, every client on this machine may steer, as in a lab

	DeviceKey []byte // of the rack's device cookies; nil: one of this process
	// ShareFailure, which must not wait, passes a wrong password on to the other boards'
	// CountFailure. nil: there are none.
	ShareFailure func(client string)
	Logger       *slog.Logger // gets rejected passwords and failed actions; nil: nothing is logged
}

// Paths whose requests the handlers of a Config answer.
const (
	ShopPath    = "/api/v1/shop/"   // the prefix of Config.Shop's
	CardPath    = "/api/v1/card/"   // the prefix of Config.Card's, which gets the path after it, with a leading slash
	SecretsPath = "/api/v1/secrets" // Config.Secrets'
)

// maxStreams bounds the pages that watch at the same time: enough for a class and the operators. A
// stream costs a goroutine and at most streamBuffer messages.
const maxStreams = 48

// Console is the web page with its API, health checks and metrics. It is an
// http.Handler; Run keeps its streams alive.
type Console struct {
	cfg   Config
	log   *slog.Logger
	hub   *hub
	auth  *auth
	page  *page
	cross *http.CrossOriginProtection
	mux   *http.ServeMux
	roles roleRouter
}

// New makes a console. It starts nothing: see Run.
func New(cfg Config) (*Console, error) {
	if cfg.Source == nil || cfg.Control == nil {
		return nil, errors.New("console: Config.Source or Control is missing")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	host, _ := os.Hostname() // without one, IP addresses still work
	p, err := newPage()
	if err != nil {
		return nil, fmt.Errorf("console: reading the built-in page: %w", err)
	}
	c := &Console{
		cfg:   cfg,
		log:   cfg.Logger,
		hub:   newHub(cfg.Source, maxStreams),
		page:  p,
		cross: http.NewCrossOriginProtection(),
		mux:   http.NewServeMux(),
		roles: newRoleRouter(),
	}
	c.auth = newAuth(cfg, host, c.isBoard, time.Now)
	c.registerRoutes()
	return c, nil
}

// Run samples the source once a second, and after each event, and broadcasts the
// samples to all streams. It returns when ctx ends, and all streams end with it, so
// that an http.Server need not wait for them when it shuts down. It may be called
// once.
func (c *Console) Run(ctx context.Context) { c.hub.run(ctx) }

// ServeHTTP answers one request.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.mux.ServeHTTP(w, r) }

// registerRoutes is the table of everything that the console answers.
func (c *Console) registerRoutes() {
	// Load balancers and supervisors have no password and need no page.
	c.mux.HandleFunc("GET /healthz", c.serveHealth)
	c.mux.HandleFunc("GET /readyz", c.serveReady)

	if c.cfg.Secrets != nil {
		c.mux.HandleFunc(SecretsPath, func(w http.ResponseWriter, r *http.Request) {
			setSecurityHeaders(w.Header())
			c.cfg.Secrets.ServeHTTP(w, r)
		})
	}
	read := func(pattern string, h http.HandlerFunc) { c.mux.Handle(pattern, c.protect(h)) }
	read("GET /{$}", c.serveIndex)
	for name := range c.page.assets {
		read("GET /"+name, c.serveAsset)
	}
	read("GET /metrics", c.serveMetrics)

	api := func(path, method string, h http.HandlerFunc) {
		c.mux.Handle(path, c.protect(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != method {
				w.Header().Set("Allow", method)
				writeError(w, http.StatusMethodNotAllowed, "use "+method+" here")
				return
			}
			h(w, r)
		}))
	}
	api("/api/v1/rack", http.MethodGet, c.serveRack)
	api("/api/v1/events", http.MethodGet, c.serveEvents)
	api("/api/v1/purge", http.MethodPost, c.servePurge)
	api("/api/v1/drain", http.MethodPost, c.boardAction(c.cfg.Control.Drain))
	api("/api/v1/locate", http.MethodPost, c.boardAction(c.cfg.Control.Locate))
	api("/api/v1/lab", http.MethodPost, c.serveLab)
	c.mux.Handle(ShopPath, c.protect(c.serveShop))
	c.mux.Handle(CardPath, c.protect(c.serveCard))
	c.mux.Handle("/api/", c.protect(func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusNotFound, "the console has no such path")
	}))
}

// isBoard reports whether the rack has a board of this name, which is in lower case.
func (c *Console) isBoard(name string) bool {
	return slices.ContainsFunc(c.cfg.Source.RackView().Boards, func(b BoardView) bool { return strings.EqualFold(b.Name, name) })
}

// CountFailure counts a wrong password that another board has received.
func (c *Console) CountFailure(client string) {
	if len(client) <= maxClientName {
		c.auth.recordFailure(client)
	}
}

// protect passes a request to next if it uses a host name of this console, its account has
// the role that it needs, and, if it changes anything, it comes from a page of this
// console.
func (c *Console) protect(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setSecurityHeaders(w.Header())
		reject := func(status int, text string) {
			if strings.HasPrefix(r.URL.Path, "/api/") {
				writeError(w, status, text)
				return
			}
			http.Error(w, text, status)
		}
		v, result, wait := c.auth.checkRequest(r)
		switch result {
		case authWrongHost:
			reject(http.StatusMisdirectedRequest, "the console does not answer to this host name: use its IP address, localhost or a board's .local name")
			return
		case authNoPassword, authWrongPassword:
			if result == authWrongPassword {
				c.log.Warn("console: wrong password", "client", r.RemoteAddr)
			}
			w.Header().Set("WWW-Authenticate", `Basic realm="Bramble console", charset="UTF-8"`)
			reject(http.StatusUnauthorized, `the console requires an account and its password: the user name is "bramble" for the password under [console]`)
			return
		case authTooManyTries:
			w.Header().Set("Retry-After", formatRetryAfter(wait))
			reject(http.StatusTooManyRequests, "too many wrong passwords from your address: wait, then try again")
			return
		}
		needed := c.roles.roleFor(r, v.role)
		judged := r.WithContext(r.Context())
		if needed != roleNone { // a page of another site could make the browser save what it may not read
			judged.Method = http.MethodPost
		}
		if c.cross.Check(judged) != nil {
			reject(http.StatusForbidden, "this request comes from a page of another site")
			return
		}
		if !v.role.includes(needed) {
			text := fmt.Sprintf("the account %s has the role %s, and this needs %s", v.name, v.role, needed)
			if v.role == roleNone {
				text = "without a password, only commands on the board itself, by its user, may see orders and make changes: set password under [console]"
			}
			reject(http.StatusForbidden, text)
			return
		}
		if r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/api/") && !isJSON(r.Header) {
			reject(http.StatusUnsupportedMediaType, "the API reads JSON only: send Content-Type: application/json")
			return
		}
		if v.device != "" {
			http.SetCookie(w, &http.Cookie{Name: DeviceCookie, Value: v.device, Path: "/", MaxAge: int(deviceLife.Seconds()), Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			c.log.Info("console: a command", "account", v.name, "client", r.RemoteAddr, "path", r.URL.Path)
		}
		next(w, r.WithContext(context.WithValue(r.Context(), viewerKey{}, v)))
	})
}

// isJSON reports whether a request's content is JSON. A page of another site can send only text/plain and the
// types of forms without asking first (the "simple" requests of CORS).
func isJSON(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && kind == "application/json" && len(h["Content-Type"]) == 1
}

func setSecurityHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
		"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

func (c *Console) serveHealth(w http.ResponseWriter, _ *http.Request) {
	setSecurityHeaders(w.Header())
	writePlain(w, http.StatusOK, "ok\n")
}

// serveReady reports whether clients may be sent to the board and, if not, why.
func (c *Console) serveReady(w http.ResponseWriter, _ *http.Request) {
	setSecurityHeaders(w.Header())
	if c.cfg.Ready != nil {
		if ok, reason := c.cfg.Ready(); !ok {
			writePlain(w, http.StatusServiceUnavailable, reason+"\n")
			return
		}
	}
	writePlain(w, http.StatusOK, "ready\n")
}

func (c *Console) serveMetrics(w http.ResponseWriter, r *http.Request) {
	if c.cfg.WriteMetrics == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	c.cfg.WriteMetrics(w)
}

func writePlain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	io.WriteString(w, text) // an error means that the client has gone
}
