package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"bramble/cache"
	"bramble/cluster/link"
	"bramble/cluster/purge"
	"bramble/node/certs"
)

// Paths on the rack link; pulses have purge.SyncPath.
const (
	objectPath      = "/v1/object" // GET: answer this request; PUT: keep this copy
	originRelayPath = "/v1/origin" // any method: ask the origin in this board's place
	drainPath       = "/v1/drain"
	locatePath      = "/v1/locate"
)

// headerRefused marks a reply of a board that could not take part, which says
// nothing about the page that was asked for.
const headerRefused = "Bramble-Refused"

// errRefused is what a reply with headerRefused becomes.
var errRefused = errors.New("the board could not take part")

// maxCopyExtra bounds an object in its wire form beside its body: fields and key.
const maxCopyExtra = 128 << 10

// linkQuery is what a board says about a request that it sends to another,
// beside the request itself.
type linkQuery struct {
	url        *url.URL
	digest     uint64 // of the purges that the asking board has obeyed
	relayed    bool   // may not be sent on to a third board
	storedOnly bool   // the reply must come from memory
}

func (q linkQuery) encodeQuery() string {
	v := url.Values{"url": {q.url.String()}, "purges": {strconv.FormatUint(q.digest, 16)}}
	if q.relayed {
		v.Set("relayed", "1")
	}
	if q.storedOnly {
		v.Set("stored", "1")
	}
	return v.Encode()
}

func parseLinkQuery(raw string) (linkQuery, error) {
	v, err := url.ParseQuery(raw)
	if err != nil {
		return linkQuery{}, fmt.Errorf("rack link: query: %w", err)
	}
	var q linkQuery
	if q.url, err = url.Parse(v.Get("url")); err != nil {
		return linkQuery{}, fmt.Errorf("rack link: url: %w", err)
	}
	if q.url.Scheme == "" || q.url.Host == "" {
		return linkQuery{}, fmt.Errorf("rack link: url %q is not absolute", v.Get("url"))
	}
	if q.digest, err = strconv.ParseUint(v.Get("purges"), 16, 64); err != nil {
		return linkQuery{}, fmt.Errorf("rack link: purges: %w", err)
	}
	q.relayed, q.storedOnly = v.Get("relayed") == "1", v.Get("stored") == "1"
	return q, nil
}

// fetchFromPeer asks another board for a page. A body that this board could keep is
// read whole before it returns, so that a board that dies while it sends costs
// the next board's answer and not a client's error.
func (p *rackHandler) fetchFromPeer(ctx context.Context, board string, r *http.Request, q linkQuery) (*http.Response, error) {
	resp, err := p.callPeer(ctx, board, objectPath, r, q)
	if err != nil {
		return nil, err
	}
	if err := readAhead(resp, p.maxObject, maxReadPause); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// callPeer asks another board something about a request.
func (p *rackHandler) callPeer(ctx context.Context, board, path string, r *http.Request, q linkQuery) (*http.Response, error) {
	q.url, q.digest = r.URL, p.purger.Digest()
	out := r.WithContext(ctx)
	out.URL = &url.URL{Path: path, RawQuery: q.encodeQuery()}
	out.RequestURI = ""
	out.Close = false // the client's wish for its own connection
	resp, err := p.link.Do(ctx, board, out)
	if err != nil {
		return nil, err
	}
	if reason := resp.Header.Get(headerRefused); reason != "" {
		resp.Body.Close()
		return nil, fmt.Errorf("%s: %w: %s", board, errRefused, reason)
	}
	resp.Request = r
	return resp, nil
}

// peerHandler answers the other boards.
type peerHandler struct {
	pages   *rackHandler
	counter *counter // nil: this board has no ledger
	drain   func(undo bool)
	locate  func(undo bool)
	certs   *certs.Manager // nil: no https
}

func (h *peerHandler) buildRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+purge.SyncPath, h.pages.purger)
	mux.HandleFunc("GET "+objectPath, h.serveObject)
	mux.HandleFunc("HEAD "+objectPath, h.serveObject)
	mux.HandleFunc("PUT "+objectPath, h.storeCopy)
	mux.HandleFunc(originRelayPath, h.serveOriginRelay)
	mux.HandleFunc("POST "+drainPath, handleUndoable(h.drain))
	mux.HandleFunc("POST "+locatePath, handleUndoable(h.locate))
	if h.certs != nil {
		mux.Handle(certs.Path, h.certs.Handler())
	}
	h.counter.routes(mux)
	return mux
}

func writeRefused(w http.ResponseWriter, reason string) {
	w.Header().Set(headerRefused, reason)
	w.WriteHeader(http.StatusServiceUnavailable)
}

// serveObject answers a request that came to another board.
func (h *peerHandler) serveObject(w http.ResponseWriter, r *http.Request) {
	p := h.pages
	in, q, ok := h.prepareRequest(w, r)
	if !ok {
		return
	}
	asker := link.PeerName(r)
	route := p.routeFor(in, relayRoute)
	first, _ := p.ring().Owners(cache.Key(in))
	switch {
	case q.storedOnly:
		if route.MaxAge > 0 || !p.cache.HasFresh(in) {
			writeRefused(w, "not stored")
			return
		}
		route = cache.Route{Name: originRoute, Upstream: noUpstream{}}
	case q.relayed || first == asker:
		route.Name, route.Upstream, route.DeferStale = originRoute, originFetch{p}, false
	}
	p.cache.Serve(w, in, route)
}

// serveOriginRelay asks the origin for a board that has no place there. What comes is not
// kept here: its owner is the one who asks, or whom it asked for.
func (h *peerHandler) serveOriginRelay(w http.ResponseWriter, r *http.Request) {
	p := h.pages
	in, _, ok := h.prepareRequest(w, r)
	if !ok {
		return
	}
	route := cache.Route{Name: permitRoute, Upstream: localOriginFetch{p}, MayStore: func(string) bool { return false }}
	if !p.ensureLease(r.Context()) {
		route.MaxAge = isolatedMaxAge
	}
	p.cache.Serve(w, in, route)
}

// prepareRequest is what another board wants answered. Before it is, this board has
// obeyed every purge that the asking one has. What cannot be is refused here.
func (h *peerHandler) prepareRequest(w http.ResponseWriter, r *http.Request) (*http.Request, linkQuery, bool) {
	p := h.pages
	q, err := parseLinkQuery(r.URL.RawQuery)
	if err == nil && !p.sites.Knows(q.url) {
		err = fmt.Errorf("%s is no site of this board", q.url.Host)
	}
	if err == nil && p.purger.CatchUp(r.Context(), link.PeerName(r), q.digest) != nil {
		err = errors.New("could not catch up with the purges")
	}
	if err != nil {
		writeRefused(w, err.Error())
		return nil, q, false
	}
	in := r.WithContext(r.Context())
	in.URL, in.Host = q.url, q.url.Host
	return in, q, true
}

// noUpstream is the upstream of a request that memory alone may answer.
type noUpstream struct{}

// Fetch always fails.
func (noUpstream) Fetch(context.Context, *http.Request) (*http.Response, error) {
	return nil, errRefused
}

// storeCopy takes a copy that the first owner of a key sends to the second.
func (h *peerHandler) storeCopy(w http.ResponseWriter, r *http.Request) {
	p := h.pages
	query := r.URL.Query()
	digest, err := strconv.ParseUint(query.Get("purges"), 16, 64)
	if err != nil {
		http.Error(w, "purges: "+err.Error(), http.StatusBadRequest)
		return
	}
	// From here on a purge is seen by the guard; before, by the digest.
	guard := p.cache.NewGuard(query.Get("key"))
	defer guard.Release()
	if p.purger.Digest() != digest {
		http.Error(w, "the purges differ: send it again later", http.StatusConflict)
		return
	}
	wire, err := io.ReadAll(io.LimitReader(r.Body, p.maxObject+maxCopyExtra+1))
	if err != nil || int64(len(wire)) > p.maxObject+maxCopyExtra {
		http.Error(w, "too large or cut off", http.StatusRequestEntityTooLarge)
		return
	}
	object, err := cache.ParseObject(wire)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := p.cache.Insert(object, guard); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// handleUndoable does what another board's console asks of this one.
func handleUndoable(do func(undo bool)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		do(r.URL.Query().Get("undo") == "1")
		w.WriteHeader(http.StatusNoContent)
	}
}
