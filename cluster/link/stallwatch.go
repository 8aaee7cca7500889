package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync/atomic"
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

	timer   *time.Timer
	stopped atomic.Bool
}

func (w *stallWatch) start() {
	w.timer = time.AfterFunc(math.MaxInt64, w.pingOnStall) // it may not fire before it is stored
	w.noteProgress()
}

// noteProgress restarts the timer, because bytes have arrived.
func (w *stallWatch) noteProgress() { w.timer.Reset(w.stall) }

// pingOnStall pings the board, and cancels the request if there is no answer. After stop it does nothing.
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
	w.cancel(nil)
	w.timer.Stop()
	if w.stopped.CompareAndSwap(false, true) {
		w.peer.inFlight.Add(-1)
	}
}

// classifyError turns a transport's error into ErrPeerSilent, unless the caller gave up. A board that could not
// be reached is down. An exchange that ended early says nothing about the board: an origin broke its response off,
// or a client its upload, or the response has headers that net/http refuses. So a ping decides.
func (w *stallWatch) classifyError(err error) error {
	if cause := context.Cause(w.ctx); errors.Is(cause, ErrPeerSilent) {
		return cause
	}
	if w.caller.Err() != nil {
		return err
	}
	if errors.Is(err, ErrPeerSilent) {
		w.link.markDown(w.peer)
		return err
	}
	go w.link.pingPeer(w.peer)
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
