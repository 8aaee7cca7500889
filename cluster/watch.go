package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// watch sees to it that one request does not wait for a dead board.
type watch struct {
	link   *Link
	peer   *linkPeer
	asked  context.Context // the caller's
	ctx    context.Context // the request's, which the watch can end
	cancel context.CancelCauseFunc
	stall  time.Duration

	mu    sync.Mutex // guards what follows
	timer *time.Timer
	over  bool
}

func (w *watch) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(w.stall, w.stalled)
}

// progress starts the wait anew: something has come.
func (w *watch) progress() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.timer.Reset(w.stall)
	}
}

func (w *watch) stalled() {
	if w.ctx.Err() != nil {
		return
	}
	if err := w.link.pingPeer(w.peer); err != nil {
		w.cancel(err)
		return
	}
	w.progress()
}

func (w *watch) stop() {
	w.mu.Lock()
	first := !w.over
	w.over = true
	w.timer.Stop()
	w.mu.Unlock()
	w.cancel(nil)
	if first {
		w.peer.inFlight.Add(-1)
	}
}

// explain turns a transport's error into ErrPeerSilent where the board is to
// blame, and remembers the board as down until it answers again.
func (w *watch) explain(err error) error {
	if cause := context.Cause(w.ctx); errors.Is(cause, ErrPeerSilent) {
		return cause
	}
	if w.asked.Err() != nil {
		return err
	}
	w.peer.down.Store(true)
	return fmt.Errorf("%s: %w: %w", w.peer.Name, ErrPeerSilent, err)
}

// watchedBody tells its watch of every byte that comes.
type watchedBody struct {
	io.ReadCloser
	watch *watch
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil:
		b.watch.progress()
	case err != io.EOF:
		err = b.watch.explain(err)
	}
	return n, err
}

func (b *watchedBody) Close() error {
	err := b.ReadCloser.Close()
	b.watch.stop()
	return err
}
