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
	maxRelease = 64 << 10 // bytes of JSON
	// fileTime is how long one file may take to come: 30 MB at 50 kB/s, which is
	// what an emulated board takes on a busy machine.
	fileTime = 10 * time.Minute
	// slotTime is how long a slot may take to be read through, and what the other one
	// has too to be copied: up to 37 MB, on a first board with a slow card.
	slotTime = 2 * time.Minute
)

// CardState is the answer to GET slots.
type CardState struct {
	SlotState
	Leading bool `json:"leading"` // the board leads the ledger
	Drained bool `json:"drained"` // no client is on it
}

// Begun is the answer to POST begin.
type Begun struct {
	Missing []File `json:"missing"`
}

// BoardSide is what the API asks of the board.
type BoardSide interface {
	Leading() bool
	Drained() bool // no client is on it
	Leaving() bool // it was taken out of service
	// Try ends the board's program so that aboard starts the other slot.
	Try()
}

// Handler answers the API. Whoever mounts it has checked who asks.
func (s *Slots) Handler(board BoardSide) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /slots", func(w http.ResponseWriter, _ *http.Request) {
		state, err := s.State()
		answer(w, CardState{state, board.Leading(), board.Drained()}, err)
	})
	mux.HandleFunc("POST /begin", release(func(w http.ResponseWriter, r Release) {
		missing, err := s.Begin(r)
		answer(w, Begun{missing}, err)
	}))
	mux.HandleFunc("PUT /file/{name}", s.putFile)
	mux.HandleFunc("POST /try", release(func(w http.ResponseWriter, r Release) {
		err := s.Seal(r)
		if err == nil && !board.Leaving() {
			err = fmt.Errorf("%w: the board is in service; drain it first", ErrNotNow)
		}
		answer(w, nil, err)
		if err == nil {
			board.Try()
		}
	}))
	mux.HandleFunc("POST /commit", func(w http.ResponseWriter, r *http.Request) {
		var want Release
		if readJSON(w, r, &want) {
			answer(w, nil, s.Commit(want.Version))
		}
	})
	return mux
}

func (s *Slots) putFile(w http.ResponseWriter, r *http.Request) {
	size, err := strconv.ParseInt(r.URL.Query().Get("size"), 10, 64)
	if err != nil || size != r.ContentLength && r.ContentLength >= 0 {
		answer(w, nil, fmt.Errorf("%w: its size is not told", ErrRefuse))
		return
	}
	// A writer that has no deadlines (a test's recorder) waits for nobody either.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(fileTime))
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(2 * fileTime))
	err = s.Put(File{r.PathValue("name"), size, r.URL.Query().Get("sha256")}, r.Body)
	answer(w, nil, err)
}

// release reads a Release that is fit to be started.
func release(then func(http.ResponseWriter, Release)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var want Release
		if !readJSON(w, r, &want) {
			return
		}
		if err := want.Check(); err != nil {
			answer(w, nil, err)
			return
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(slotTime)) // as for a file
		then(w, want)
	}
}

func readJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		answer(w, nil, fmt.Errorf("%w: send application/json", ErrRefuse))
		return false
	}
	d := json.NewDecoder(io.LimitReader(r.Body, maxRelease))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		answer(w, nil, fmt.Errorf("%w: %w", ErrRefuse, err))
		return false
	}
	return true
}

// answer writes v, or 204 if it is nil, or what went wrong.
func answer(w http.ResponseWriter, v any, err error) {
	status := http.StatusOK
	switch {
	case errors.Is(err, ErrRefuse):
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
