package link

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"bramble/cluster/unproven"
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

// acceptPause is the pause after a failed accept.
const acceptPause = 100 * time.Millisecond

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

// knockListener accepts only connections whose caller has proved the rack key, by a valid knock and the TLS handshake.
type knockListener struct {
	net.Listener
	keys     [][]byte
	tls      *tls.Config
	unproven *unproven.Connections
	log      *slog.Logger
	ready    chan net.Conn
	ctx      context.Context // ends when the listener closes
	cancel   context.CancelFunc
	running  sync.WaitGroup
}

func newKnockListener(inner net.Listener, id *linkIdentity, waiting *unproven.Connections, log *slog.Logger) *knockListener {
	l := &knockListener{
		Listener: inner, keys: id.knockKeys, tls: id.serverConfig(), unproven: waiting, log: log, ready: make(chan net.Conn),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.running.Go(l.acceptLoop)
	return l
}

// acceptLoop accepts connections and has each prove the rack key. It ends with the listener only: when a
// board has too many files open, that passes.
func (l *knockListener) acceptLoop() {
	for l.ctx.Err() == nil {
		conn, err := l.Listener.Accept()
		if err != nil {
			if l.ctx.Err() == nil {
				l.log.Warn("rack link: cannot accept a connection", "error", err)
				time.Sleep(acceptPause)
			}
			continue
		}
		proved := l.unproven.Add(conn)
		l.running.Go(func() { l.admitCaller(conn, proved) })
	}
}

// admitCaller passes a connection to Accept if its caller proves the rack key, and closes it otherwise.
func (l *knockListener) admitCaller(conn net.Conn, proved func()) {
	defer proved()
	stop := context.AfterFunc(l.ctx, func() { conn.Close() })
	defer stop()
	secure := tls.Server(conn, l.tls)
	err := readKnock(conn, l.keys)
	if err == nil {
		err = secure.HandshakeContext(l.ctx)
	}
	if err != nil {
		l.log.Warn("rack link: closed a connection: "+err.Error(),
			"caller", conn.RemoteAddr().String(),
			"hint", "if it is one of your boards, give it the same [rack] key")
		conn.Close()
		return
	}
	proved()
	select {
	case l.ready <- secure:
	case <-l.ctx.Done():
		conn.Close()
	}
}

func readKnock(conn net.Conn, keys [][]byte) error {
	var b [knockSize]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil || !checkKnock(b[:], keys) {
		return errWrongKnock
	}
	return nil
}

// Accept returns the next connection whose caller holds the rack key.
func (l *knockListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.ready:
		return conn, nil
	case <-l.ctx.Done():
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
