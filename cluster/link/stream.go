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

// streamProtocol is the Upgrade token of a stream (RFC 9110 §7.8).
const streamProtocol = "bramble-stream"

// ErrNoStream: the board answers, but does not accept a stream of that kind.
var ErrNoStream = errors.New("the board accepts no stream of this kind")

// Stream opens a two-way connection to a board for a protocol that is not HTTP.
// path selects the protocol; the board serves it with a StreamHandler. Stream
// waits at most half a peer timeout to connect and another half for the response.
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
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, r)
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
	return bufferedConn{conn, reader}, nil
}

// StreamHandler accepts the streams that other boards open. It passes each to
// accept with the name of the board that opened it. accept owns the connection and
// may block for a short time.
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
		const response = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + streamProtocol + "\r\n\r\n"
		err = conn.SetDeadline(time.Time{})
		if err == nil {
			_, err = conn.Write([]byte(response))
		}
		if err != nil {
			conn.Close()
			return
		}
		accept(bufferedConn{conn, buffered.Reader}, board)
	})
}

// bufferedConn is a connection of which a reader may have buffered some bytes already.
type bufferedConn struct {
	net.Conn
	reader *bufio.Reader
}

func (c bufferedConn) Read(p []byte) (int, error) { return c.reader.Read(p) }
