package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"bramble/cache"
	"bramble/cluster"
)

// Paths on the rack link; pulses have cluster.PulsePath.
const (
	objectPath = "/v1/object" // GET: answer this request; PUT: keep this copy
	drainPath  = "/v1/drain"
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

func (q linkQuery) encode() string {
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

// askPeer asks another board for a page. A body that this board could keep is
// read whole before it returns, so that a board that dies while it sends costs
// the next board's answer and not a client's error.
func (p *pages) askPeer(ctx context.Context, board string, r *http.Request, q linkQuery) (*http.Response, error) {
	q.url, q.digest = r.URL, p.purger.Digest()
	out := r.WithContext(ctx)
	out.URL = &url.URL{Path: objectPath, RawQuery: q.encode()}
	out.RequestURI = ""
	resp, err := p.link.Do(ctx, board, out)
	if err != nil {
		return nil, err
	}
	if reason := resp.Header.Get(headerRefused); reason != "" {
		resp.Body.Close()
		return nil, fmt.Errorf("%s: %w: %s", board, errRefused, reason)
	}
	if err := p.readAhead(resp); err != nil {
		resp.Body.Close()
		return nil, err
	}
	resp.Request = r
	return resp, nil
}

// readAhead reads a body up to the size that can be kept; what is larger goes on streaming.
func (p *pages) readAhead(resp *http.Response) error {
	limit := p.maxObject
	if resp.ContentLength > limit {
		return nil
	}
	var head bytes.Buffer
	if resp.ContentLength > 0 {
		head.Grow(int(resp.ContentLength) + bytes.MinRead)
	}
	n, err := io.Copy(&head, io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return fmt.Errorf("reading a reply: %w", err)
	}
	if n <= limit {
		if err := resp.Body.Close(); err != nil {
			return fmt.Errorf("reading a reply: %w", err)
		}
		if resp.Request.Method != http.MethodHead && resp.ContentLength < 0 {
			resp.ContentLength = n
		}
		resp.Body = io.NopCloser(&head)
		return nil
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(&head, resp.Body), resp.Body}
	return nil
}

// peerHandler answers the other boards.
type peerHandler struct {
	pages *pages
	drain func(undo bool)
}

func (h *peerHandler) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+cluster.PulsePath, h.pages.purger)
	mux.HandleFunc("GET "+objectPath, h.object)
	mux.HandleFunc("HEAD "+objectPath, h.object)
	mux.HandleFunc("PUT "+objectPath, h.keep)
	mux.HandleFunc("POST "+drainPath, h.drained)
	return mux
}

func refuse(w http.ResponseWriter, reason string) {
	w.Header().Set(headerRefused, reason)
	w.WriteHeader(http.StatusServiceUnavailable)
}

// object answers a request that came to another board. Before it does, this
// board has obeyed every purge that the asking one has.
func (h *peerHandler) object(w http.ResponseWriter, r *http.Request) {
	p := h.pages
	q, err := parseLinkQuery(r.URL.RawQuery)
	if err != nil {
		refuse(w, err.Error())
		return
	}
	asker := cluster.PeerName(r)
	if err := p.purger.CatchUp(r.Context(), asker, q.digest); err != nil {
		refuse(w, "could not catch up with the purges")
		return
	}
	in := r.WithContext(r.Context())
	in.URL, in.Host = q.url, q.url.Host
	route := p.route(in, relayRoute)
	first, _ := p.ring().Owners(cache.Key(in))
	switch {
	case q.storedOnly:
		if route.YoungerThan > 0 || !p.cache.HasFresh(in) {
			refuse(w, "not stored")
			return
		}
		route = cache.Route{Name: originRoute, Upstream: nothing{}}
	case q.relayed || first == asker:
		route.Name, route.Upstream = originRoute, p.origin
	}
	p.cache.Serve(w, in, route)
}

// nothing is the upstream of a request that memory alone may answer.
type nothing struct{}

// Fetch always fails.
func (nothing) Fetch(context.Context, *http.Request) (*http.Response, error) {
	return nil, errRefused
}

// keep takes a copy that the first owner of a key sends to the second.
func (h *peerHandler) keep(w http.ResponseWriter, r *http.Request) {
	p := h.pages
	query := r.URL.Query()
	digest, err := strconv.ParseUint(query.Get("purges"), 16, 64)
	if err != nil {
		http.Error(w, "purges: "+err.Error(), http.StatusBadRequest)
		return
	}
	// From here on a purge is seen by the guard; before, by the digest.
	guard := p.cache.Guard(query.Get("key"))
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

func (h *peerHandler) drained(w http.ResponseWriter, r *http.Request) {
	h.drain(r.URL.Query().Get("undo") == "1")
	w.WriteHeader(http.StatusNoContent)
}
