package node

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// maxReadPause is how long a body on its way between two boards may pause
	// before it is passed on as it comes. What a board has whole arrives
	// without a pause; what the origin sends in drops should reach the client
	// in drops too.
	maxReadPause = 50 * time.Millisecond
	// maxReadChunk is how many bytes of it are read at once, at most.
	maxReadChunk = 32 << 10
)

// readAhead reads a body of at most limit bytes whole before it returns, so
// that a board that dies while it sends costs the next board's answer and not a
// client's error. A body that is larger, or that pauses, goes on streaming. An
// error is the body's.
func readAhead(resp *http.Response, limit int64, pause time.Duration) error {
	if resp.Body == http.NoBody || resp.ContentLength > limit {
		return nil
	}
	body := startAheadBody(resp.Body, readChunkSize(resp.ContentLength))
	var head bytes.Buffer
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for int64(head.Len()) <= limit {
		select {
		case chunk, more := <-body.chunks:
			if !more {
				if body.err != io.EOF {
					return fmt.Errorf("reading a reply: %w", body.err)
				}
				resp.Body = bufferedBody{&head, body}
				if resp.ContentLength < 0 && resp.Request.Method != http.MethodHead {
					resp.ContentLength = int64(head.Len())
				}
				return nil
			}
			head.Write(chunk)
			timer.Reset(pause)
			continue
		case <-timer.C:
		}
		break
	}
	body.rest = head.Bytes()
	resp.Body = body
	return nil
}

// readChunkSize sizes the reads of a body of known length to take it in one.
func readChunkSize(length int64) int {
	if length >= 0 && length < maxReadChunk {
		return int(length) + 1 // so that the read that takes the last byte sees the end too
	}
	return maxReadChunk
}

// bufferedBody is a body that has been read; closing it ends the connection's part.
type bufferedBody struct {
	*bytes.Buffer
	io.Closer
}

// aheadBody is a body that a goroutine of its own reads, one chunk ahead. The
// goroutine ends with the body, or with Close, which ends the body.
type aheadBody struct {
	inner  io.ReadCloser
	chunks chan []byte
	err    error // why chunks was closed; io.EOF at the end
	closed chan struct{}
	rest   []byte // read and not yet given out
}

func startAheadBody(inner io.ReadCloser, chunk int) *aheadBody {
	b := &aheadBody{inner: inner, chunks: make(chan []byte), closed: make(chan struct{})}
	go b.pumpChunks(chunk)
	return b
}

func (b *aheadBody) pumpChunks(size int) {
	defer close(b.chunks)
	for {
		chunk := make([]byte, size)
		n, err := b.inner.Read(chunk)
		if n > 0 {
			select {
			case b.chunks <- chunk[:n]:
			case <-b.closed:
				b.err = http.ErrBodyReadAfterClose
				return
			}
		}
		if err != nil {
			b.err = err
			return
		}
	}
}

// Read gives out what has come, waiting for some.
func (b *aheadBody) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		chunk, more := <-b.chunks
		if !more {
			return 0, b.err
		}
		b.rest = chunk
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// Close ends the body; it may be called once.
func (b *aheadBody) Close() error {
	close(b.closed)
	return b.inner.Close()
}
