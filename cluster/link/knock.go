package link

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// A knock authenticates a caller before TLS begins: a version byte, 16 random
// bytes and the HMAC-SHA256 of both under a key derived from the rack key. If it
// is wrong, the connection is closed without a byte in return. So a stranger
// learns nothing, not even a certificate, and cannot make a slow board compute
// key exchanges. A knock admits to the TLS handshake only: a replayed one fails
// there.
const (
	knockVersion = 1
	knockRandom  = 16
	knockSize    = 1 + knockRandom + sha256.Size
)

const (
	// knockTimeout bounds how long a caller may take to knock.
	knockTimeout = 2 * time.Second
	// maxKnocking bounds the connections whose knock is awaited. Above it a new
	// connection is closed at once.
	maxKnocking = 64
)

var errWrongKnock = errors.New("the caller does not hold this rack's key")

func appendKnock(b, key []byte) ([]byte, error) {
	start := len(b)
	b = append(b, knockVersion)
	b = append(b, make([]byte, knockRandom)...)
	if _, err := rand.Read(b[start+1:]); err != nil {
		return nil, fmt.Errorf("rack link: random bytes for the knock: %w", err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(b[start:])
	return mac.Sum(b), nil
}

// checkKnock reports whether b is a knock under any of keys.
func checkKnock(b []byte, keys [][]byte) bool {
	if len(b) != knockSize || b[0] != knockVersion {
		return false
	}
	message, proof := b[:1+knockRandom], b[1+knockRandom:]
	matches := 0
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write(message)
		matches |= subtle.ConstantTimeCompare(mac.Sum(nil), proof)
	}
	return matches == 1
}

// knockListener accepts only connections with a valid knock.
type knockListener struct {
	net.Listener
	keys    [][]byte
	log     *slog.Logger
	ready   chan net.Conn
	ctx     context.Context // ends when the listener closes
	cancel  context.CancelFunc
	running sync.WaitGroup
	permits *semaphore.Weighted

	mu  sync.Mutex
	err error // why accepting ended; guarded by mu
}

func newKnockListener(inner net.Listener, keys [][]byte, log *slog.Logger) *knockListener {
	l := &knockListener{
		Listener: inner,
		keys:     keys,
		log:      log,
		ready:    make(chan net.Conn),
		permits:  semaphore.NewWeighted(maxKnocking),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.running.Go(l.acceptLoop)
	return l
}

// acceptLoop accepts connections and awaits their knocks, at most maxKnocking at
// a time.
func (l *knockListener) acceptLoop() {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			l.mu.Lock()
			l.err = err
			l.mu.Unlock()
			l.cancel()
			return
		}
		if !l.permits.TryAcquire(1) {
			l.log.Warn("rack link: too many callers that have not proved the rack key; closing the newest", "limit", maxKnocking)
			conn.Close()
			continue
		}
		l.running.Go(func() {
			defer l.permits.Release(1)
			l.admitCaller(conn)
		})
	}
}

// admitCaller passes a connection to Accept if its knock is valid, and closes it
// otherwise.
func (l *knockListener) admitCaller(conn net.Conn) {
	stop := context.AfterFunc(l.ctx, func() { conn.Close() })
	defer stop()
	if err := readKnock(conn, l.keys); err != nil {
		l.log.Warn("rack link: closed a connection unanswered: "+err.Error(),
			"caller", conn.RemoteAddr().String(),
			"hint", "if it is one of your boards, give it the same [rack] key")
		conn.Close()
		return
	}
	select {
	case l.ready <- conn:
	case <-l.ctx.Done():
		conn.Close()
	}
}

func readKnock(conn net.Conn, keys [][]byte) error {
	if err := conn.SetReadDeadline(time.Now().Add(knockTimeout)); err != nil {
		return fmt.Errorf("setting a deadline: %w", err)
	}
	var b [knockSize]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return errWrongKnock
	}
	if !checkKnock(b[:], keys) {
		return errWrongKnock
	}
	return conn.SetReadDeadline(time.Time{})
}

// Accept returns the next connection whose caller holds the rack key.
func (l *knockListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.ready:
		return conn, nil
	case <-l.ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.err != nil {
			return nil, l.err
		}
		return nil, net.ErrClosed
	}
}

// Close stops accepting and waits until the pending connections are closed.
func (l *knockListener) Close() error {
	l.cancel()
	err := l.Listener.Close()
	l.running.Wait()
	return err
}
