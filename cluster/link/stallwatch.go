package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// stallWatch sees to it that one request does not wait for a dead board.
type stallWatch struct {
	link   *Link
	peer   *peerState
	caller context.Context // the caller's
	ctx    context.Context // the request's, which the watch can end
	cancel context.CancelCauseFunc
	stall  time.Duration

	mu      sync.Mutex // guards what follows
	timer   *time.Timer
	stopped bool
}

func (w *stallWatch) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(w.stall, w.pingOnStall)
}

// noteProgress starts the wait anew: something has come.
func (w *stallWatch) noteProgress() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.timer.Reset(w.stall)
	}
}

func (w *stallWatch) pingOnStall() {
	if w.ctx.Err() != nil {
		return
	}
	if err := w.link.pingPeer(w.peer); err != nil {
		w.cancel(err)
		return
	}
	w.noteProgress()
}

func (w *stallWatch) stop() {
	w.mu.Lock()
	first := !w.stopped
	w.stopped = true
	w.timer.Stop()
	w.mu.Unlock()
	w.cancel(nil)
	if first {
		w.peer.inFlight.Add(-1)
	}
}

// classifyError turns a transport's error into ErrPeerSilent where the board is to
// blame, and remembers the board as down until it answers again.
func (w *stallWatch) classifyError(err error) error {
	if cause := context.Cause(w.ctx); errors.Is(cause, ErrPeerSilent) {
		return cause
	}
	if w.caller.Err() != nil {
		return err
	}
	w.peer.down.Store(true)
	return fmt.Errorf("%s: %w: %w", w.peer.Name, ErrPeerSilent, err)
}

// watchedBody tells its watch of every byte that comes.
type watchedBody struct {
	io.ReadCloser
	watch *stallWatch
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil:
		b.watch.noteProgress()
	case err != io.EOF:
		err = b.watch.classifyError(err)
	}
	return n, err
}

func (b *watchedBody) Close() error {
	err := b.ReadCloser.Close()
	b.watch.stop()
	return err
}
