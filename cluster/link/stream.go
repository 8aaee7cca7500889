package link

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// streamProtocol is what a stream's first request asks to change to (RFC 9110 §7.8).
const streamProtocol = "bramble-stream"

// ErrNoStream: the board answers, but does not take a stream of that kind.
var ErrNoStream = errors.New("the board takes no stream of this kind")

// Stream opens a two-way connection to a board for a protocol that is not HTTP.
// path says for which; its handler over there is Streams. It returns within
// half a peer timeout for the connection and another for the answer.
func (l *Link) Stream(ctx context.Context, board, path string) (net.Conn, error) {
	host := boardHost(board)
	conn, err := l.dialBoard(ctx, "tcp", net.JoinHostPort(host, "443"))
	if err != nil {
		return nil, err
	}
	stream, err := l.requestStream(ctx, conn, host, path)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("stream %s to %s: %w", path, board, err)
	}
	return stream, nil
}

func (l *Link) requestStream(ctx context.Context, conn net.Conn, host, path string) (net.Conn, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", streamProtocol)
	deadline := time.Now().Add(l.peerTimeout / 2)
	if by, ok := ctx.Deadline(); ok && by.Before(deadline) {
		deadline = by
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if err := r.Write(conn); err != nil {
		return nil, err
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		resp.Body.Close()
		return nil, fmt.Errorf("%w: %s", ErrNoStream, resp.Status)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return bufferedConn{conn, in}, nil
}

// StreamHandler takes the streams that other boards open. Each goes to accept with
// the name of the board that opened it; accept owns it, and may wait a little.
func StreamHandler(accept func(conn net.Conn, board string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		board := PeerName(r)
		if r.Header.Get("Upgrade") != streamProtocol {
			w.Header().Set("Upgrade", streamProtocol)
			w.WriteHeader(http.StatusUpgradeRequired)
			return
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		const answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + streamProtocol + "\r\n\r\n"
		err = conn.SetDeadline(time.Time{})
		if err == nil {
			_, err = conn.Write([]byte(answer))
		}
		if err != nil {
			conn.Close()
			return
		}
		accept(bufferedConn{conn, buffered.Reader}, board)
	})
}

// bufferedConn is a connection some of whose bytes may be in a reader already.
type bufferedConn struct {
	net.Conn
	in *bufio.Reader
}

func (c bufferedConn) Read(p []byte) (int, error) { return c.in.Read(p) }
