package cardinit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"
)

// The API of a card's slots, below the path at which it is mounted:
//
//	GET  slots         → CardState
//	POST check         SlotManifest → 204 if begin would accept its signature
//	POST begin         the same → BeginReply
//	PUT  file/NAME     ?size=…&sha256=…, the bytes → 204
//	POST try           the version → 204; the board then stops and comes back in the other slot
//	POST commit        the version → 204
//
// An error is {"error": "…"} with a status.

const (
	maxManifest = 64 << 10 // bytes of its JSON
	// fileTimeout limits receiving one file: 30 MB at 50 kB/s, the speed of an emulated
	// board on a busy machine.
	fileTimeout = 10 * time.Minute
	// slotTimeout limits reading a slot and copying the files that both slots have: up
	// to 37 MB, on a first board with a slow card.
	slotTimeout = 2 * time.Minute
)

// CardState is the answer to GET slots.
type CardState struct {
	SlotState
	Leading bool `json:"leading"` // the board leads the ledger
	Drained bool `json:"drained"` // it has no clients
}

// BeginReply is the answer to POST begin.
type BeginReply struct {
	Missing []SlotFile `json:"missing"`
}

// BoardControl is the part of the board's program that the API uses.
type BoardControl interface {
	Leading() bool
	Drained() bool // it has no clients
	Leaving() bool // it was taken out of service
	// Try ends the program with ExitTry, so that the init starts the other slot.
	Try()
}

// Handler serves the API. The caller must check that the client may control the board.
func (s *Slots) Handler(board BoardControl) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /slots", func(w http.ResponseWriter, _ *http.Request) {
		state, err := s.State()
		writeReply(w, CardState{state, board.Leading(), board.Drained()}, err)
	})
	mux.HandleFunc("POST /check", withManifest(func(w http.ResponseWriter, m SlotManifest) {
		_, err := s.OpenSigned(m.Signature)
		writeReply(w, nil, err)
	}))
	mux.HandleFunc("POST /begin", withManifest(func(w http.ResponseWriter, m SlotManifest) {
		missing, err := s.Begin(m.Signature)
		writeReply(w, BeginReply{missing}, err)
	}))
	mux.HandleFunc("PUT /file/{name}", s.handlePut)
	mux.HandleFunc("POST /try", withManifest(func(w http.ResponseWriter, m SlotManifest) {
		err := s.Seal(m.Version)
		if err == nil && !board.Leaving() {
			err = fmt.Errorf("%w: the board is in service; drain it first", ErrNotNow)
		}
		writeReply(w, nil, err)
		if err == nil {
			board.Try()
		}
	}))
	mux.HandleFunc("POST /commit", withManifest(func(w http.ResponseWriter, m SlotManifest) {
		writeReply(w, nil, s.Commit(m.Version))
	}))
	return mux
}

func (s *Slots) handlePut(w http.ResponseWriter, r *http.Request) {
	size, err := strconv.ParseInt(r.URL.Query().Get("size"), 10, 64)
	if err != nil || size != r.ContentLength && r.ContentLength >= 0 {
		writeReply(w, nil, fmt.Errorf("%w: the size is missing or differs from the body's", ErrRefused))
		return
	}
	// A writer without deadlines (a test's recorder) does not block either.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(fileTimeout))
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(2 * fileTimeout))
	err = s.Put(SlotFile{r.PathValue("name"), size, r.URL.Query().Get("sha256")}, r.Body)
	writeReply(w, nil, err)
}

// withManifest reads a SlotManifest.
func withManifest(then func(http.ResponseWriter, SlotManifest)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
			writeReply(w, nil, fmt.Errorf("%w: send application/json", ErrRefused))
			return
		}
		var manifest SlotManifest
		d := json.NewDecoder(io.LimitReader(r.Body, maxManifest))
		d.DisallowUnknownFields()
		if err := d.Decode(&manifest); err != nil {
			writeReply(w, nil, fmt.Errorf("%w: %w", ErrRefused, err))
			return
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(slotTimeout)) // as for a file
		then(w, manifest)
	}
}

// writeReply writes v, or 204 if v is nil, or the error.
func writeReply(w http.ResponseWriter, v any, err error) {
	status := http.StatusOK
	switch {
	case errors.Is(err, ErrRefused):
		status = http.StatusBadRequest
	case errors.Is(err, ErrNotAccepted):
		status = http.StatusForbidden
	case errors.Is(err, ErrNotNow):
		status = http.StatusConflict
	case err != nil:
		status = http.StatusServiceUnavailable
	case v == nil:
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if err != nil {
		v = map[string]string{"error": err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // an error means that the client has disconnected
}
