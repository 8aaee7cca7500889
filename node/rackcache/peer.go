package rackcache

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
)

// Paths on the rack link.
const (
	objectPath      = "/v1/object" // GET, HEAD: answer this request; PUT: store this replica
	originRelayPath = "/v1/origin" // any method: fetch from the origin with this board's permit
)

// headerRefused marks the reply of a board that could not handle the request. The reply
// is not the page's.
const headerRefused = "Bramble-Refused"

var (
	// errRefused is the error for a reply with headerRefused.
	errRefused = errors.New("the board could not handle the request")
	// errOwnView is why a board neither gives a page to another board nor takes it from one.
	errOwnView = errors.New("each board makes this page itself")
)

// maxReplicaOverhead bounds an object in its wire form beside its body: fields and key.
const maxReplicaOverhead = 128 << 10

// linkQuery is what a board adds to a request that it sends to another board.
type linkQuery struct {
	url        *url.URL
	digest     uint64 // of the purges that the sending board has applied
	relayed    bool   // must not be sent on to a third board
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

// fetchFromPeer fetches a page from another board. It reads a body that this board
// could store completely before it returns: if the other board dies while it sends, the
// next board is asked and the client sees no error.
func (h *PageHandler) fetchFromPeer(ctx context.Context, board string, r *http.Request, q linkQuery) (*http.Response, error) {
	resp, err := h.callPeer(ctx, board, objectPath, r, q)
	if err != nil {
		return nil, err
	}
	if err := readAhead(resp, h.maxObject, maxReadPause); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// callPeer sends a request, with what q adds to it, to another board.
func (h *PageHandler) callPeer(ctx context.Context, board, path string, r *http.Request, q linkQuery) (*http.Response, error) {
	q.url, q.digest = r.URL, h.Purges.Digest()
	out := r.WithContext(ctx)
	out.URL = &url.URL{Path: path, RawQuery: q.encodeQuery()}
	out.RequestURI = ""
	out.Close = false // the client's wish for its own connection
	if _, given := r.Header["User-Agent"]; !given {
		out.Header = r.Header.Clone()
		out.Header["User-Agent"] = nil // otherwise net/http adds its own, which the origin would get
	}
	resp, err := h.Link.Do(ctx, board, out)
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

// RegisterRoutes adds the handlers of other boards' requests over the rack link to mux.
func (h *PageHandler) RegisterRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET "+objectPath, h.serveObject)
	mux.HandleFunc("HEAD "+objectPath, h.serveObject)
	mux.HandleFunc("PUT "+objectPath, h.storeReplica)
	mux.HandleFunc(originRelayPath, h.serveOriginRelay)
}

func writeRefused(w http.ResponseWriter, reason string) {
	w.Header().Set(headerRefused, reason)
	w.WriteHeader(http.StatusServiceUnavailable)
}

// serveObject answers a client's request for another board.
func (h *PageHandler) serveObject(w http.ResponseWriter, r *http.Request) {
	siteRequest, q, ok := h.prepareRequest(w, r)
	if !ok {
		return
	}
	sender := link.PeerName(r)
	route := h.routeFor(siteRequest, levelRelay)
	first, _ := h.Ring().Owners(cache.Key(siteRequest))
	switch {
	case q.storedOnly:
		if route.MaxAge > 0 || !h.cache.HasFresh(siteRequest) {
			writeRefused(w, "not stored")
			return
		}
		route = cache.Route{Level: levelOrigin, Upstream: noUpstream{}}
	case q.relayed || first == sender:
		route.Level, route.Upstream, route.DeferStale = levelOrigin, originFetch{h}, false
	}
	h.cache.Serve(w, siteRequest, route)
}

// serveOriginRelay fetches from the origin for a board that has no permit there.
// This board does not store the reply, because it does not own the page.
func (h *PageHandler) serveOriginRelay(w http.ResponseWriter, r *http.Request) {
	siteRequest, _, ok := h.prepareRequest(w, r)
	if !ok {
		return
	}
	h.cache.Serve(w, siteRequest, cache.Route{
		Level: levelPermit, Upstream: directFetch{h}, MayStore: func(string) bool { return false },
		MaxAge: h.maxStoredAge(r.Context()), KeepStored: true, // the sender invalidates
	})
}

// prepareRequest unwraps the client's request from another board's. It first applies
// every purge that the sender has applied. If this board cannot answer, it writes a
// refusal and returns false.
func (h *PageHandler) prepareRequest(w http.ResponseWriter, r *http.Request) (*http.Request, linkQuery, bool) {
	q, err := parseLinkQuery(r.URL.RawQuery)
	if err == nil && !h.Sites.Knows(q.url) {
		err = fmt.Errorf("%s is not a site of this board", q.url.Host)
	}
	if err == nil && h.isOwnView(q.url) {
		err = errOwnView
	}
	if err == nil && h.Purges.CatchUp(r.Context(), link.PeerName(r), q.digest) != nil {
		err = errors.New("could not catch up with the purges")
	}
	if err != nil {
		writeRefused(w, err.Error())
		return nil, q, false
	}
	siteRequest := r.WithContext(r.Context())
	siteRequest.URL, siteRequest.Host = q.url, q.url.Host
	return siteRequest, q, true
}

// noUpstream is the upstream of a request that memory alone may answer.
type noUpstream struct{}

func (noUpstream) Fetch(context.Context, *http.Request) (*http.Response, error) {
	return nil, errRefused
}

// storeReplica stores the replica of an object that the first owner of a key sends to
// the second owner.
func (h *PageHandler) storeReplica(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	digest, err := strconv.ParseUint(query.Get("purges"), 16, 64)
	if err != nil {
		http.Error(w, "purges: "+err.Error(), http.StatusBadRequest)
		return
	}
	if h.isOwnViewKey(query.Get("key")) {
		http.Error(w, errOwnView.Error(), http.StatusConflict)
		return
	}
	// From here on the guard sees every purge; the digest covers those before.
	guard := h.cache.NewGuard(query.Get("key"))
	defer guard.Release()
	if h.Purges.Digest() != digest {
		http.Error(w, "the purges differ: send it again later", http.StatusConflict)
		return
	}
	wire, err := io.ReadAll(io.LimitReader(r.Body, h.maxObject+maxReplicaOverhead+1))
	if err != nil || int64(len(wire)) > h.maxObject+maxReplicaOverhead {
		http.Error(w, "too large or cut off", http.StatusRequestEntityTooLarge)
		return
	}
	object, err := cache.ParseObject(wire)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := h.cache.Insert(object, guard); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
