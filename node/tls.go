package node

import (
	"context"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"bramble/cluster"
	"bramble/node/certs"
	"bramble/node/config"
	"bramble/node/front"
	"bramble/node/rackcache"
)

// newCerts makes the manager of certificates; nil if there is no https.
func (b *board) newCerts() (*certs.Manager, error) {
	cfg := b.cfg.TLS
	if cfg.Listen == "" {
		return nil, nil
	}
	var files []certs.Pair
	for i := range cfg.CertificateFiles {
		files = append(files, certs.Pair{Certificate: cfg.CertificateFiles[i], Key: cfg.KeyFiles[i]})
	}
	return certs.New(certs.Config{
		Self: b.cfg.Board.Name, RackKeys: rackKeys(b.cfg.Rack), Names: siteNames(b.cfg), Files: files,
		ACME:   certs.ACME{Names: cfg.ACMEDomains, Directory: cfg.ACMEDirectoryURL, Email: cfg.ACMEEmail, CA: cfg.ACMECARoot},
		Folder: cfg.ACMEStorage, Rack: certRack{b}, Logger: b.log, Now: time.Now,
		SetTicketKeys: func(keys [][32]byte) { b.front.SetTicketKeys(keys) },
		ClockSet:      b.clockIsSet,
	})
}

func (b *board) newConsoleCerts() (*certs.ConsoleCerts, error) {
	ca, err := certs.NewConsoleCA(b.cfg.Rack.Key.Bytes())
	if err != nil {
		return nil, err
	}
	names := []string{b.cfg.Board.Name}
	if machine, err := os.Hostname(); err == nil && !strings.EqualFold(machine, names[0]) {
		names = append(names, machine)
	}
	return &certs.ConsoleCerts{CA: ca, Boards: names, Owner: b.certs}, nil
}

// siteNames returns the host names of the rack's sites, without ports.
func siteNames(cfg *config.Config) []string {
	names := append([]string(nil), cfg.TLS.ACMEDomains...)
	for _, site := range cfg.Sites {
		for _, name := range append([]string{site.Host}, site.Aliases...) {
			if host, _, err := net.SplitHostPort(name); err == nil {
				name = host
			}
			if strings.Trim(name, "0123456789.") != "" { // an address is not a DNS name
				names = append(names, strings.ToLower(name))
			}
		}
	}
	return names
}

// frontTLS configures the front's https listener; nil if there is none.
func (b *board) frontTLS() *front.HTTPSConfig {
	if b.certs == nil {
		return nil
	}
	t := &front.HTTPSConfig{
		Listen: b.cfg.TLS.Listen, Certificate: b.certs.Certificate, Handshakes: b.cfg.TLS.MaxPendingHandshakes,
		FastHandler: rackcache.NewFastPath(b.rackCache), Open: func(address string) (net.Listener, error) {
			l, err := b.Sockets.Listen("https", address)
			return l, addListenRemedy(err, "[tls] listen")
		},
	}
	if age := time.Duration(b.cfg.TLS.HSTSMaxAge); age > 0 {
		t.StrictTransport = "max-age=" + strconv.FormatInt(int64(age/time.Second), 10)
	}
	return t
}

// publicHandler returns the handler of the public listener and its fast path: the
// page cache, and before it, if there is https, challenges and redirects.
func (b *board) publicHandler() (http.Handler, front.FastHandler) {
	fastPath := rackcache.NewFastPath(b.rackCache)
	switch {
	case b.certs == nil:
		return b.rackCache, fastPath
	case b.cfg.TLS.RedirectHTTP:
		return redirectHandler{b}, redirectingFastPath{fastPath, b.certs}
	}
	return redirectHandler{b}, fastPath
}

// redirectHandler answers a CA's challenge, and redirects clients to https if the
// settings require it.
type redirectHandler struct{ b *board }

func (h redirectHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b := h.b
	switch {
	case b.certs.AnswerChallenge(w, r):
	case r.TLS == nil && b.cfg.TLS.RedirectHTTP && b.certs.HasCertificate(r.Host) && !strings.HasPrefix(r.URL.Path, certs.WellKnown):
		w.Header().Set("Location", httpsURL(r, b.cfg.TLS.Listen))
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusPermanentRedirect)
	default:
		b.rackCache.ServeHTTP(w, r)
	}
}

// httpsURL returns the https URL of a request, with the port of listen.
func httpsURL(r *http.Request, listen string) string {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if _, port, err := net.SplitHostPort(listen); err == nil && port != "443" {
		host = net.JoinHostPort(host, port)
	}
	target := *r.URL
	target.Scheme, target.Host = "https", host
	return target.String()
}

// redirectingFastPath leaves plain requests for names with a certificate to
// redirectHandler.
type redirectingFastPath struct {
	*rackcache.FastPath
	certs *certs.Manager
}

// AppendHit is front.FastHandler. It memoises nothing: a certificate may come before
// the next request.
func (r redirectingFastPath) AppendHit(dst []byte, q *front.FastRequest) (head []byte, body [][]byte, ok bool) {
	if r.certs.HasCertificate(string(q.Host)) {
		return dst, nil, false
	}
	q.WantValidity, q.Validity = false, nil
	return r.FastPath.AppendHit(dst, q)
}

// certRack is the rack as package certs sees it (certs.RackPeers).
type certRack struct{ b *board }

// Peers returns the live boards without this one.
func (c certRack) Peers() []string {
	var names []string
	for _, peer := range (roster{members: c.b.members}).Peers() {
		names = append(names, peer.Name)
	}
	return names
}

// Owner returns the board that owns a key on the ring; "" unless this board serves
// and reaches most of its rack.
func (c certRack) Owner(key string) string {
	if c.b.state.get() != cluster.Serving || !c.b.purger.LeaseValid() {
		return ""
	}
	first, _ := c.b.members.Ring().Owners(key)
	return first
}

func (c certRack) Call(ctx context.Context, board string, r *http.Request) (*http.Response, error) {
	return c.b.link.Control(ctx, board, r)
}
