package cache

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Chunks of a spool of unknown length: the first is small, the others double up to
// the largest.
const (
	firstChunk   = 4 << 10
	largestChunk = 64 << 10
	// windowChunks is the window of a sliding spool, in chunks of the largest size.
	windowChunks = 2
)

// errTooSlow ends the reply of a client that blocked a spool.
var errTooSlow = errors.New("cache: client reads too slowly")

// spool is a body that one writer fills and any number of readers follow while it
// grows (a broadcast buffer). At first it holds everything, and its chunks become
// the stored body. A sliding spool holds a bounded window instead, with
// backpressure: the writer waits for the slowest reader, and a reader that blocks it
// for longer than the stall limit is cut off.
type spool struct {
	stall time.Duration

	mu         sync.Mutex
	chunks     [][]byte // filled parts, without the dropped ones
	dropped    int      // chunks dropped from the front
	written    int64
	hidden     int // bytes at the end that no reader sees before finish
	sliding    bool
	done       bool
	err        error // why the body ended early
	readers    map[*spoolReader]struct{}
	spare      []byte        // a dropped chunk, for reuse
	dataReady  chan struct{} // closed when there is more to read; nil if no reader waits
	spaceFreed chan struct{} // closed when a reader moves on; nil if the writer does not wait
}

// spoolReader is one client's position in a spool. It is guarded by the spool's
// lock.
type spoolReader struct {
	s       *spool
	chunk   int // counted from the very first
	off     int
	tooSlow bool // cut off
}

func newSpool(stall time.Duration) *spool {
	return &spool{stall: stall, readers: make(map[*spoolReader]struct{})}
}

// attach adds a reader at the beginning of the body; nil if that is dropped already.
func (s *spool) attach() *spoolReader {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped > 0 {
		return nil
	}
	rd := &spoolReader{s: s}
	s.readers[rd] = struct{}{}
	return rd
}

// detach removes a reader and returns the number of those left.
func (s *spool) detach(rd *spoolReader) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.readers, rd)
	wakeWaiters(&s.spaceFreed)
	return len(s.readers)
}

func (s *spool) hasNoReaders() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.readers) == 0
}

// expectLength allocates the single chunk of a body of known length.
func (s *spool) expectLength(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chunks = append(s.chunks, make([]byte, 0, n))
}

// startSliding lets the spool drop what all readers have read. Once it has dropped
// something, no reader can attach.
func (s *spool) startSliding() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sliding = true
}

// nextBuffer returns space for the writer to fill: the rest of the last chunk, or a
// new chunk. It waits while the window is full.
func (s *spool) nextBuffer(ctx context.Context) ([]byte, error) {
	var timer *time.Timer
	for {
		s.mu.Lock()
		if buf := s.bufferSpace(); buf != nil {
			s.mu.Unlock()
			return buf, nil
		}
		wait := waitChan(&s.spaceFreed)
		s.mu.Unlock()
		if timer == nil {
			timer = time.NewTimer(s.stall)
			defer timer.Stop()
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-timer.C:
			s.cutSlowest()
			timer = nil
		}
	}
}

// bufferSpace needs the lock; nil means that the window is full.
func (s *spool) bufferSpace() []byte {
	if n := len(s.chunks); n > 0 {
		if last := s.chunks[n-1]; len(last) < cap(last) {
			return last[len(last):cap(last)]
		}
	}
	size := s.nextSize()
	if s.sliding {
		s.dropRead()
		if s.heldBytes() > (windowChunks-1)*largestChunk {
			return nil
		}
	}
	next := s.spare
	s.spare = nil
	if next == nil {
		next = make([]byte, 0, size)
	}
	s.chunks = append(s.chunks, next)
	return next[:cap(next)]
}

// nextSize is the size of the chunk after the last. It needs the lock.
func (s *spool) nextSize() int {
	if s.dropped > 0 {
		return largestChunk
	}
	if n := len(s.chunks); n > 0 {
		return min(max(cap(s.chunks[n-1])*2, firstChunk), largestChunk)
	}
	return firstChunk
}

// bytesNeeded is the size of the chunk that the next write must allocate, 0 if none.
func (s *spool) bytesNeeded() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.chunks); n > 0 && len(s.chunks[n-1]) < cap(s.chunks[n-1]) {
		return 0
	}
	return int64(s.nextSize())
}

// heldBytes is the number of bytes in chunks. It needs the lock.
func (s *spool) heldBytes() int {
	n := 0
	for _, c := range s.chunks {
		n += cap(c)
	}
	return n
}

// dropRead drops the chunks that every reader has passed. It needs the lock.
func (s *spool) dropRead() {
	first := s.dropped + len(s.chunks)
	for rd := range s.readers {
		first = min(first, rd.chunk)
	}
	for s.dropped < first {
		if c := s.chunks[0]; cap(c) == largestChunk {
			s.spare = c[:0]
		}
		s.chunks[0] = nil
		s.chunks = s.chunks[1:]
		s.dropped++
	}
}

// cutSlowest cuts off the readers that block the window.
func (s *spool) cutSlowest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for rd := range s.readers {
		if rd.chunk == s.dropped {
			rd.tooSlow = true
			delete(s.readers, rd)
			// Its goroutine may still be writing from the chunk, which no other
			// reader needs: drop it, so that it is never reused.
			s.chunks[0] = nil
		}
	}
	wakeWaiters(&s.dataReady)
}

// noteWritten records that the writer has filled n bytes of nextBuffer's space. last
// hides them until finish: a client that has counted a body's last byte expects
// the page to be stored, and may request it again at once.
func (s *spool) noteWritten(n int, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := len(s.chunks) - 1
	s.chunks[i] = s.chunks[i][:len(s.chunks[i])+n]
	s.written += int64(n)
	if last {
		s.hidden = n
		return
	}
	wakeWaiters(&s.dataReady)
}

// finish ends the body; err says why it is incomplete, nil if it is complete.
func (s *spool) finish(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done, s.err, s.hidden = true, err, 0
	wakeWaiters(&s.dataReady)
}

// storedBody returns all chunks, to be stored, without unused capacity. A body of
// known length is one chunk already. Of the others, a small one is gathered into one
// chunk; of a large one only the last chunk is copied.
func (s *spool) storedBody() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.written == 0:
		return nil
	case s.written <= largestChunk && (len(s.chunks) > 1 || cap(s.chunks[0]) > len(s.chunks[0])):
		return [][]byte{exactCopy(slices.Concat(s.chunks...))}
	}
	all := slices.DeleteFunc(slices.Clone(s.chunks), func(c []byte) bool { return len(c) == 0 })
	if last := len(all) - 1; cap(all[last]) > len(all[last]) {
		all[last] = exactCopy(all[last])
	}
	return slices.Clip(all)
}

func exactCopy(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }

// next returns bytes that the reader has not read yet, and waits if there are none; it
// calls idle before it waits. At the end of a complete body it returns io.EOF.
func (rd *spoolReader) next(ctx context.Context, idle func() error) ([]byte, error) {
	s := rd.s
	for {
		s.mu.Lock()
		if rd.tooSlow {
			s.mu.Unlock()
			return nil, errTooSlow
		}
		if buf := rd.unreadBytes(); len(buf) > 0 {
			s.mu.Unlock()
			return buf, nil
		}
		if s.done {
			s.mu.Unlock()
			if s.err != nil {
				return nil, s.err
			}
			return nil, io.EOF
		}
		wait := waitChan(&s.dataReady)
		s.mu.Unlock()
		if err := idle(); err != nil {
			return nil, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// maxHeld bounds the beginning of a body, in bytes, that is held back until it is there: as much as net/http holds
// back anyway, and less than a spool's window.
const maxHeld = 4 << 10

// awaitBytes waits until readers can have the first n bytes of the body. The reader must not have read any.
func (rd *spoolReader) awaitBytes(ctx context.Context, n int64) error {
	for s := rd.s; ; {
		s.mu.Lock()
		if s.done || s.written-int64(s.hidden) >= n {
			defer s.mu.Unlock()
			if s.written < n {
				return s.err
			}
			return nil
		}
		wait := waitChan(&s.dataReady)
		s.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// unreadBytes returns the available bytes of one chunk that the reader has not read yet.
// It needs the lock.
func (rd *spoolReader) unreadBytes() []byte {
	for i := rd.chunk - rd.s.dropped; i >= 0 && i < len(rd.s.chunks); i++ {
		c := rd.s.chunks[i]
		last := i == len(rd.s.chunks)-1
		if last {
			c = c[:len(c)-rd.s.hidden]
		}
		if rd.off < len(c) {
			return c[rd.off:]
		}
		if last && len(c) < cap(c) {
			return nil // the writer continues in this chunk
		}
		rd.chunk, rd.off = rd.chunk+1, 0
		wakeWaiters(&rd.s.spaceFreed)
	}
	return nil
}

// advance records that n bytes were read.
func (rd *spoolReader) advance(n int) {
	rd.s.mu.Lock()
	defer rd.s.mu.Unlock()
	rd.off += n
	if !rd.tooSlow {
		rd.unreadBytes()
	}
}

// copyTo writes a part of the body to w while it arrives; a length below 0 means up
// to the end. It flushes before it waits, so that the client gets all bytes that have
// arrived.
func (rd *spoolReader) copyTo(ctx context.Context, w http.ResponseWriter, part byteRange) error {
	flush := http.NewResponseController(w)
	idle := func() error {
		if err := flush.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		return nil
	}
	skip, left := part.offset, part.length
	for left != 0 {
		buf, err := rd.next(ctx, idle)
		if err == io.EOF && left < 0 {
			return nil
		}
		if err != nil {
			return err
		}
		n := len(buf)
		if skip > 0 {
			n = int(min(skip, int64(n)))
			skip -= int64(n)
			rd.advance(n)
			continue
		}
		if left > 0 {
			n = int(min(left, int64(n)))
			left -= int64(n)
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		rd.advance(n)
	}
	return nil
}

// waitChan returns a channel that the next wakeWaiters closes. It needs the spool's
// lock.
func waitChan(ch *chan struct{}) <-chan struct{} {
	if *ch == nil {
		*ch = make(chan struct{})
	}
	return *ch
}

// wakeWaiters wakes everything that waits for ch. It needs the spool's lock.
func wakeWaiters(ch *chan struct{}) {
	if *ch != nil {
		close(*ch)
		*ch = nil
	}
}
