package certs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Paths between boards. The caller has proved that it holds the rack key.
const (
	// Path is the prefix of the paths that Handler serves.
	Path          = "/v1/certs/"
	certPath      = Path + "item/"      // + name: GET, PUT of the bundle
	challengePath = Path + "challenge/" // + key: PUT of the response, DELETE
)

// WellKnown is the path prefix at which a CA validates http-01 (RFC 8555 §8.3).
const WellKnown = "/.well-known/acme-challenge/"

const (
	peerTimeout  = 5 * time.Second // of one call of another board; a busy board needs a fraction of it
	maxPeerCalls = 8               // boards that are called at the same time
	maxIndex     = 32 << 10        // bytes of a board's list: 64 names of 253 letters, with digests
	maxToken     = 512             // bytes of an http-01 response; CAs use 90
)

// entry is one certificate in a board's list.
type entry struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

func (c *issuedCert) bundleDigest() string {
	sum := sha256.Sum256(c.bundle)
	return hex.EncodeToString(sum[:])
}

func parseIndex(data []byte) ([]entry, error) {
	var list []entry
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("a board's list of certificates: %w", err)
	}
	return list, nil
}

// Handler serves the other boards, under Path.
func (m *Manager) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path+"{$}", func(w http.ResponseWriter, _ *http.Request) {
		list := []entry{}
		for _, cert := range m.store.all() {
			list = append(list, entry{cert.name, cert.bundleDigest()})
		}
		// After an error the calling board retries.
		_ = json.NewEncoder(w).Encode(list)
	})
	mux.HandleFunc("GET "+certPath+"{key}", func(w http.ResponseWriter, r *http.Request) {
		cert := m.store.get(r.PathValue("key"))
		if cert == nil {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(cert.bundle)
	})
	putBody := func(store func(key string, body []byte) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, err := readAtMost(r.Body, maxBundle)
			if err == nil {
				err = store(r.PathValue("key"), body)
			}
			writeResult(w, err)
		}
	}
	mux.HandleFunc("PUT "+certPath+"{key}", putBody(m.installBundle))
	mux.HandleFunc("PUT "+challengePath+"{key}", putBody(func(key string, body []byte) error {
		response, err := parseChallenge(key, body)
		if err != nil {
			return err
		}
		return m.challenges.put(key, response)
	}))
	mux.HandleFunc("DELETE "+challengePath+"{key}", func(w http.ResponseWriter, r *http.Request) {
		m.challenges.remove(r.PathValue("key"))
		writeResult(w, nil)
	})
	return mux
}

func writeResult(w http.ResponseWriter, err error) {
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, errOlder):
		http.Error(w, err.Error(), http.StatusConflict)
	default:
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func readAtMost(from io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(from, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading a board's response: %w", err)
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("the board's response exceeds %d bytes", limit)
	}
	return data, nil
}

// parseChallenge parses a challenge that another board publishes.
func parseChallenge(key string, body []byte) (challenge, error) {
	if name, alpn := strings.CutPrefix(key, alpnPrefix); alpn {
		cert, err := parseBundle(name, body)
		if err != nil {
			return challenge{}, err
		}
		return challenge{cert: &cert.cert}, nil
	}
	if key == "" || len(key) > maxToken || len(body) > maxToken || !strings.HasPrefix(string(body), key+".") {
		return challenge{}, errors.New("not a challenge")
	}
	return challenge{text: string(body)}, nil
}

// AnswerChallenge answers a CA's http-01 request. It returns false for any other request,
// and for a token that no board of the rack has published.
func (m *Manager) AnswerChallenge(w http.ResponseWriter, r *http.Request) bool {
	token, ok := strings.CutPrefix(r.URL.Path, WellKnown)
	if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	response, ok := m.challenges.get(token)
	if !ok || response.text == "" {
		return false
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, response.text) // the CA retries
	return true
}

// installBundle stores a certificate from the CA or another board, and puts it to use.
func (m *Manager) installBundle(name string, bundle []byte) error {
	cert, err := parseBundle(name, bundle)
	if err != nil {
		return err
	}
	if err := m.store.put(cert); err != nil {
		return err
	}
	m.rebuildIndex()
	m.cfg.Logger.Info("a new certificate is in use", "name", name, "valid_until", cert.cert.Leaf.NotAfter)
	return nil
}

// sendToPeers sends a request to all live boards, and returns when each has answered
// or timed out. It returns the names of those that failed.
func (m *Manager) sendToPeers(ctx context.Context, method, path string, body []byte) (missed []string) {
	return m.forEachPeer(ctx, func(ctx context.Context, board string) error {
		_, err := m.callPeer(ctx, board, method, path, body, 0)
		return err
	})
}

// forEachPeer calls do for every live board, maxPeerCalls of them at a time, and
// returns the names of those for which it failed.
func (m *Manager) forEachPeer(ctx context.Context, do func(ctx context.Context, board string) error) (missed []string) {
	var mu sync.Mutex
	var calls errgroup.Group
	calls.SetLimit(maxPeerCalls)
	for _, board := range m.cfg.Rack.Peers() {
		calls.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, peerTimeout)
			defer cancel()
			if err := do(ctx, board); err != nil {
				m.cfg.Logger.Debug("certificates: a call of a board failed", "board", board, "error", err)
				mu.Lock()
				missed = append(missed, board)
				mu.Unlock()
			}
			return nil
		})
	}
	_ = calls.Wait() // failures are in missed
	slices.Sort(missed)
	return missed
}

// callPeer sends one request and reads at most limit bytes of the reply. A conflict,
// because the board has a newer certificate, is not an error.
func (m *Manager) callPeer(ctx context.Context, board, method, path string, body []byte, limit int64) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, "https://board"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("calling %s: %w", board, err)
	}
	resp, err := m.cfg.Rack.Call(ctx, board, r)
	if err != nil {
		return nil, fmt.Errorf("calling %s: %w", board, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return readAtMost(resp.Body, limit)
	case http.StatusNoContent, http.StatusConflict:
		return nil, nil
	}
	return nil, fmt.Errorf("calling %s: status %d", board, resp.StatusCode)
}

// pullMissing fetches the certificates that this board lacks from every live board,
// and returns the names of the boards that failed.
func (m *Manager) pullMissing(ctx context.Context) (missed []string) {
	return m.forEachPeer(ctx, func(ctx context.Context, board string) error {
		data, err := m.callPeer(ctx, board, http.MethodGet, Path, nil, maxIndex)
		if err != nil {
			return err
		}
		list, err := parseIndex(data)
		if err != nil {
			return err
		}
		for _, listed := range list {
			if !slices.Contains(m.cfg.ACME.Names, listed.Name) {
				continue
			}
			if own := m.store.get(listed.Name); own != nil && own.bundleDigest() == listed.Digest {
				continue
			}
			bundle, err := m.callPeer(ctx, board, http.MethodGet, certPath+listed.Name, nil, maxBundle)
			if err != nil {
				return err
			}
			if err := m.installBundle(listed.Name, bundle); err != nil && !errors.Is(err, errOlder) {
				return err
			}
		}
		return nil
	})
}
