package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// stallWatch ends one request if its board is dead: after each stall without a
// byte it pings the board.
type stallWatch struct {
	link   *Link
	peer   *peerState
	caller context.Context // the caller's
	ctx    context.Context // the request's; the watch can cancel it
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

// noteProgress restarts the timer, because bytes have arrived.
func (w *stallWatch) noteProgress() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.timer.Reset(w.stall)
	}
}

// pingOnStall pings the board, and cancels the request if there is no answer.
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

// stop ends the watch. It may be called again.
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

// classifyError turns a transport's error into ErrPeerSilent if the board is at
// fault, and marks the board as down until it answers again.
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

// watchedBody reports each read to its watch.
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
