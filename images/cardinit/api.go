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

// The API of a card's slots, below whatever path it is mounted at:
//
//	GET  slots         → CardState
//	POST begin         Release → Begun
//	PUT  file/NAME     ?size=…&sha256=…, the bytes → 204
//	POST try           Release → 204; the board then ends and comes back in the other slot
//	POST commit        Release, of which the version counts → 204
//
// A failure is {"error": "…"} with a status.

const (
	maxManifest = 64 << 10 // bytes of JSON
	// fileTimeout is how long one file may take to come: 30 MB at 50 kB/s, which is
	// what an emulated board takes on a busy machine.
	fileTimeout = 10 * time.Minute
	// slotTimeout is how long a slot may take to be read through, and what the other one
	// has too to be copied: up to 37 MB, on a first board with a slow card.
	slotTimeout = 2 * time.Minute
)

// CardState is the answer to GET slots.
type CardState struct {
	SlotState
	Leading bool `json:"leading"` // the board leads the ledger
	Drained bool `json:"drained"` // no client is on it
}

// BeginReply is the answer to POST begin.
type BeginReply struct {
	Missing []SlotFile `json:"missing"`
}

// BoardControl is what the API asks of the board.
type BoardControl interface {
	Leading() bool
	Drained() bool // no client is on it
	Leaving() bool // it was taken out of service
	// Try ends the board's program so that aboard starts the other slot.
	Try()
}

// Handler answers the API. Whoever mounts it has checked who asks.
func (s *Slots) Handler(board BoardControl) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /slots", func(w http.ResponseWriter, _ *http.Request) {
		state, err := s.State()
		writeReply(w, CardState{state, board.Leading(), board.Drained()}, err)
	})
	mux.HandleFunc("POST /begin", withManifest(func(w http.ResponseWriter, r SlotManifest) {
		missing, err := s.Begin(r)
		writeReply(w, BeginReply{missing}, err)
	}))
	mux.HandleFunc("PUT /file/{name}", s.handlePut)
	mux.HandleFunc("POST /try", withManifest(func(w http.ResponseWriter, r SlotManifest) {
		err := s.Seal(r)
		if err == nil && !board.Leaving() {
			err = fmt.Errorf("%w: the board is in service; drain it first", ErrNotNow)
		}
		writeReply(w, nil, err)
		if err == nil {
			board.Try()
		}
	}))
	mux.HandleFunc("POST /commit", func(w http.ResponseWriter, r *http.Request) {
		var want SlotManifest
		if readJSON(w, r, &want) {
			writeReply(w, nil, s.Commit(want.Version))
		}
	})
	return mux
}

func (s *Slots) handlePut(w http.ResponseWriter, r *http.Request) {
	size, err := strconv.ParseInt(r.URL.Query().Get("size"), 10, 64)
	if err != nil || size != r.ContentLength && r.ContentLength >= 0 {
		writeReply(w, nil, fmt.Errorf("%w: its size is not told", ErrRefused))
		return
	}
	// A writer that has no deadlines (a test's recorder) waits for nobody either.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(fileTimeout))
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(2 * fileTimeout))
	err = s.Put(SlotFile{r.PathValue("name"), size, r.URL.Query().Get("sha256")}, r.Body)
	writeReply(w, nil, err)
}

// withManifest reads a Release that is fit to be started.
func withManifest(then func(http.ResponseWriter, SlotManifest)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var want SlotManifest
		if !readJSON(w, r, &want) {
			return
		}
		if err := want.Check(); err != nil {
			writeReply(w, nil, err)
			return
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(slotTimeout)) // as for a file
		then(w, want)
	}
}

func readJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		writeReply(w, nil, fmt.Errorf("%w: send application/json", ErrRefused))
		return false
	}
	d := json.NewDecoder(io.LimitReader(r.Body, maxManifest))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		writeReply(w, nil, fmt.Errorf("%w: %w", ErrRefused, err))
		return false
	}
	return true
}

// writeReply writes v, or 204 if it is nil, or what went wrong.
func writeReply(w http.ResponseWriter, v any, err error) {
	status := http.StatusOK
	switch {
	case errors.Is(err, ErrRefused):
		status = http.StatusBadRequest
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
	_ = json.NewEncoder(w).Encode(v) // a client that has gone needs no answer
}
