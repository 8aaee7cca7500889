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
)

// Paths between boards. Whoever can ask has proved to hold the rack key.
const (
	// Path is what Handler answers for.
	Path          = "/v1/certs/"
	bundlePath    = Path + "item/"      // + name: GET, PUT of the bundle
	challengePath = Path + "challenge/" // + key: PUT of what is shown, DELETE
)

// WellKnown is where a CA asks for a token (RFC 8555 §8.3).
const WellKnown = "/.well-known/acme-challenge/"

const (
	// peerTimeout bounds one request to another board: several times what a busy one takes.
	peerTimeout = 5 * time.Second
	// maxPeerCalls bounds the boards that are asked at the same time.
	maxPeerCalls = 8
	// maxIndex bounds the list of a board's certificates, in bytes: 64 names of
	// 253 letters and digests.
	maxIndex = 32 << 10
	// maxToken bounds what is shown for http-01, in bytes; CAs use 90.
	maxToken = 512
)

// entry is one line of a board's index.
type entry struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

func (i *issuedCert) digest() string {
	sum := sha256.Sum256(i.bundle)
	return hex.EncodeToString(sum[:])
}

// parseIndex reads what another board has.
func parseIndex(data []byte) ([]entry, error) {
	var list []entry
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("a board's list of certificates: %w", err)
	}
	return list, nil
}

// Handler answers the other boards, under Path.
func (k *Manager) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path+"{$}", func(w http.ResponseWriter, _ *http.Request) {
		list := []entry{}
		for _, one := range k.store.all() {
			list = append(list, entry{one.name, one.digest()})
		}
		// The board that asks may have gone; there is nobody else to tell.
		_ = json.NewEncoder(w).Encode(list)
	})
	mux.HandleFunc("GET "+bundlePath+"{name}", func(w http.ResponseWriter, r *http.Request) {
		one := k.store.get(r.PathValue("name"))
		if one == nil {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(one.bundle)
	})
	mux.HandleFunc("PUT "+bundlePath+"{name}", func(w http.ResponseWriter, r *http.Request) {
		writeResult(w, func() error {
			bundle, err := readAtMost(r.Body, maxBundle)
			if err != nil {
				return err
			}
			return k.installBundle(r.PathValue("name"), bundle)
		}())
	})
	mux.HandleFunc("PUT "+challengePath+"{key}", func(w http.ResponseWriter, r *http.Request) {
		writeResult(w, func() error {
			body, err := readAtMost(r.Body, maxBundle)
			if err != nil {
				return err
			}
			one, err := parseChallenge(r.PathValue("key"), body)
			if err != nil {
				return err
			}
			return k.challenges.put(r.PathValue("key"), one)
		}())
	})
	mux.HandleFunc("DELETE "+challengePath+"{key}", func(w http.ResponseWriter, r *http.Request) {
		k.challenges.remove(r.PathValue("key"))
		writeResult(w, nil)
	})
	return mux
}

// writeResult says how something ended.
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

func readAtMost(from io.Reader, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(from, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading what a board sends: %w", err)
	case int64(len(data)) > most:
		return nil, fmt.Errorf("reading what a board sends: more than %d bytes", most)
	}
	return data, nil
}

// parseChallenge reads what another board has a CA shown.
func parseChallenge(key string, body []byte) (challenge, error) {
	if name, alpn := strings.CutPrefix(key, alpnPrefix); alpn {
		one, err := parseBundle(name, body)
		if err != nil {
			return challenge{}, err
		}
		return challenge{cert: &one.cert}, nil
	}
	if key == "" || len(key) > maxToken || len(body) > maxToken || !strings.HasPrefix(string(body), key+".") {
		return challenge{}, errors.New("a challenge that is none")
	}
	return challenge{text: string(body)}, nil
}

// AnswerChallenge answers a CA that asks for a token. It reports false if the request
// is another, or about a token that no board of the rack has asked for.
func (k *Manager) AnswerChallenge(w http.ResponseWriter, r *http.Request) bool {
	token, ok := strings.CutPrefix(r.URL.Path, WellKnown)
	if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	one, ok := k.challenges.get(token)
	if !ok || one.text == "" {
		return false
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, one.text) // the CA asks again
	return true
}

// installBundle keeps a certificate that came from the CA or another board.
func (k *Manager) installBundle(name string, bundle []byte) error {
	one, err := parseBundle(name, bundle)
	if err != nil {
		return err
	}
	if err := k.store.put(one); err != nil {
		return err
	}
	k.rebuildIndex()
	k.cfg.Logger.Info("a new certificate is in use", "name", name, "good_until", one.cert.Leaf.NotAfter)
	return nil
}

// sendToPeers sends something to all live boards at once, and returns when each has it or
// its time is over. It names those that have not.
func (k *Manager) sendToPeers(ctx context.Context, method, path string, body []byte) (missed []string) {
	return k.forEachPeer(ctx, func(ctx context.Context, board string) error {
		_, err := k.callPeer(ctx, board, method, path, body, 0)
		return err
	})
}

// forEachPeer does something with every live board, askAtOnce of them at a time.
func (k *Manager) forEachPeer(ctx context.Context, do func(ctx context.Context, board string) error) (missed []string) {
	var mu sync.Mutex
	var all sync.WaitGroup
	places := make(chan struct{}, maxPeerCalls)
	for _, board := range k.cfg.Rack.Peers() {
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			ctx, cancel := context.WithTimeout(ctx, peerTimeout)
			defer cancel()
			if err := do(ctx, board); err != nil {
				k.cfg.Logger.Debug("certificates: a board did not take part", "board", board, "error", err)
				mu.Lock()
				missed = append(missed, board)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	slices.Sort(missed)
	return missed
}

// callPeer sends one request and reads at most some bytes of the answer. What is
// refused because it is old news is no error.
func (k *Manager) callPeer(ctx context.Context, board, method, path string, body []byte, most int64) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, "https://board"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", board, err)
	}
	resp, err := k.cfg.Rack.Call(ctx, board, r)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", board, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return readAtMost(resp.Body, most)
	case http.StatusNoContent, http.StatusConflict:
		return nil, nil
	}
	return nil, fmt.Errorf("asking %s: status %d", board, resp.StatusCode)
}

// pullMissing asks every live board for the certificates that this one lacks, and names
// those that did not answer.
func (k *Manager) pullMissing(ctx context.Context) (missed []string) {
	return k.forEachPeer(ctx, func(ctx context.Context, board string) error {
		data, err := k.callPeer(ctx, board, http.MethodGet, Path, nil, maxIndex)
		if err != nil {
			return err
		}
		list, err := parseIndex(data)
		if err != nil {
			return err
		}
		for _, one := range list {
			if !slices.Contains(k.cfg.ACME.Names, one.Name) {
				continue
			}
			if mine := k.store.get(one.Name); mine != nil && mine.digest() == one.Digest {
				continue
			}
			bundle, err := k.callPeer(ctx, board, http.MethodGet, bundlePath+one.Name, nil, maxBundle)
			if err != nil {
				return err
			}
			if err := k.installBundle(one.Name, bundle); err != nil && !errors.Is(err, errOlder) {
				return err
			}
		}
		return nil
	})
}
