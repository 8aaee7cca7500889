package orderservice

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"bramble/cluster/ledger"
	"bramble/node/orders"
)

const (
	// logViewWait limits how long a request waits for the log to be read. Consoles' clients
	// give up after 5 s.
	logViewWait = 3 * time.Second
	// logViewTTL is the time for which what was read stays open after its last use, so that
	// the pages of a long list need no second reading. It takes room on the card.
	logViewTTL = time.Minute
)

// StillReading begins the text of the error of a request for a board's copy while the board
// reads its log. The same request succeeds later.
const StillReading = "this board is still reading its log"

// StaleJSON describes the copy of one board that a list was read from.
type StaleJSON struct {
	FromLog  bool   `json:"from_log"`         // from the whole log, because nobody tells the board what is committed
	Entry    uint64 `json:"entry"`            // index of the last entry of the ledger in it
	Unproven int    `json:"unproven"`         // changes at its end that nothing on this board proves to be committed
	Damage   string `json:"damage,omitempty"` // why the rest of the log cannot be read
}

// logView is an order book made from this board's whole log. After its start a board has
// applied only its snapshot, until a leader tells it what is committed; a lone survivor has
// no leader. There is at most one, in a folder of its own, and only while it is used.
type logView struct {
	dir string

	mu      sync.Mutex // guards all below
	book    *orders.Book
	copy    StaleJSON
	last    uint64        // the log's last entry when it was read
	reading chan struct{} // closed when the reading in progress ends; nil: none is
	err     error         // of the last reading
	expiry  *time.Timer
}

// bookFor returns the book that answers an operator's request: this board's, after a barrier,
// or for a client that accepts a copy that may be stale, the best copy this board has.
func (s *Service) bookFor(r *http.Request) (*orders.Book, *StaleJSON, error) {
	if r.URL.Query().Get("stale") == "" {
		if err := s.awaitBarrier(r.Context()); err != nil {
			return nil, nil, fmt.Errorf("%w, or add --stale (in the API stale=1) to read this board's copy", err)
		}
		return s.cfg.Book, nil, nil
	}
	status := s.cfg.Ledger.Status()
	if s.cfg.LogViewDir == "" || status.Leader != "" || status.LastEntry <= status.Applied {
		return s.cfg.Book, &StaleJSON{Entry: status.Applied}, nil
	}
	return s.logView.open(r.Context(), s.cfg.Ledger, status.LastEntry)
}

// open returns the book of the log up to its last entry. It reads the log unless it has.
func (v *logView) open(ctx context.Context, log OrderLedger, last uint64) (*orders.Book, *StaleJSON, error) {
	wait := time.NewTimer(logViewWait)
	defer wait.Stop()
	for {
		v.mu.Lock()
		if v.book != nil && v.last == last {
			v.expiry.Reset(logViewTTL)
			book, about := v.book, v.copy
			v.mu.Unlock()
			return book, &about, nil
		}
		if err := v.err; err != nil {
			v.err = nil
			v.mu.Unlock()
			return nil, nil, fmt.Errorf("this board's log cannot be read: %w", err)
		}
		if v.reading == nil {
			v.closeLocked()
			v.reading = make(chan struct{})
			go v.read(log, last)
		}
		reading := v.reading
		v.mu.Unlock()
		select {
		case <-reading:
		case <-wait.C:
			return nil, nil, errors.New(StillReading + "; send the same request again in a few seconds")
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// read makes the book. It runs until the log has been read, or cannot be.
func (v *logView) read(log OrderLedger, last uint64) {
	book, err := orders.Open(v.dir)
	var found ledger.Recovery
	if err == nil {
		if found, err = log.ReadLog(OrderStateMachine{Book: book}); err != nil {
			err = errors.Join(err, book.Close())
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	close(v.reading)
	v.reading, v.err = nil, err
	if err != nil {
		v.err = errors.Join(err, os.RemoveAll(v.dir))
		return
	}
	v.book, v.last = book, last
	v.copy = StaleJSON{FromLog: true, Entry: found.Index, Unproven: found.Unproven, Damage: found.Damage}
	v.expiry = time.AfterFunc(logViewTTL, v.close)
}

// close removes the book. Requests that read from it fail.
func (v *logView) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closeLocked()
}

func (v *logView) closeLocked() {
	if v.book == nil {
		return
	}
	v.expiry.Stop()
	v.book.Close() // an error changes nothing: the folder goes
	v.book = nil
	os.RemoveAll(v.dir) // the next reading removes what stays
}
