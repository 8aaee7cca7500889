package rackcache

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// maxReadPause limits how long a body on its way between two boards may pause before it
	// is streamed. A body that the other board has stored arrives without a pause; one that
	// the origin sends in pieces should reach the client in pieces too.
	maxReadPause = 50 * time.Millisecond
	// maxReadChunk bounds one read, in bytes.
	maxReadChunk = 32 << 10
)

// readAhead reads a body of at most limit bytes completely before it returns; see
// fetchFromPeer. A larger body, or one that pauses, is streamed. An error comes from
// reading the body.
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
			switch {
			case more:
				head.Write(chunk)
				timer.Reset(pause)
				continue
			case body.err != io.EOF:
				return fmt.Errorf("reading a reply: %w", body.err)
			case resp.ContentLength < 0 && resp.Request.Method != http.MethodHead:
				resp.ContentLength = int64(head.Len())
			}
		case <-timer.C:
		}
		break
	}
	body.rest = head.Bytes()
	resp.Body = body
	return nil
}

// readChunkSize returns the size of the reads: a body of known length needs one.
func readChunkSize(length int64) int {
	if length >= 0 && length < maxReadChunk {
		return int(length) + 1 // so that the read that takes the last byte sees the end too
	}
	return maxReadChunk
}

// aheadBody is a body that its own goroutine reads, one chunk ahead. The goroutine
// ends with the body or with Close.
type aheadBody struct {
	inner  io.ReadCloser
	chunks chan []byte
	err    error // why chunks was closed; io.EOF at the end
	closed chan struct{}
	rest   []byte // read from inner, not yet from this body
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

// Read returns the bytes that have arrived; it waits for the first.
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

// Close closes the body. It may be called once.
func (b *aheadBody) Close() error {
	close(b.closed)
	return b.inner.Close()
}
