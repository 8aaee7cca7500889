package front

import (
	"sync"
	"sync/atomic"
	"time"
)

// connState is what a connection is doing, which decides how long it may.
type connState uint32

const (
	stateNew         connState = iota // nothing has come yet
	stateIdle                         // between two requests
	stateReading                      // a request has begun to come
	stateFlushing                     // the client does not take its reply
	stateLingering                    // the last reply is out; the client is to close
	stateAnswering                    // replies are being made
	stateNetHTTP                      // net/http answers, and watches over the time
	stateNetHTTPIdle                  // net/http waits for the next request
	stateClosing                      // nothing may begin any more
	stateBits        = 4
	stateMask        = 1<<stateBits - 1
	// probedBit marks a phase that the sweep has looked at closely.
	probedBit = 1 << stateBits
	tickShift = stateBits + 1
)

// packState is a phase and since when, in one word so that a connection and the sweep
// never disagree: a phase in the lowest bits, and above the mark the number of
// sweeps there had been when it began. 27 bits of half seconds are two years.
func packState(p connState, tick uint32) uint32 { return uint32(p) | tick<<tickShift }

func stateOf(w uint32) connState { return connState(w & stateMask) }

// ticksSince is how many sweeps ago the word's phase began.
func ticksSince(w, tick uint32) uint32 { return (tick<<tickShift - w&^(1<<tickShift-1)) >> tickShift }

const (
	// maxSweepInterval is how often the connections are looked at: half a second is
	// nothing to an idle time, and 20,000 of them take a board about 6 ms.
	maxSweepInterval = 500 * time.Millisecond
	// minSweepInterval is how often at most, where times are short.
	minSweepInterval = 10 * time.Millisecond
	// sweepChunk connections are looked at under one lock: for about 0.3 ms on a
	// board nobody can come or go.
	sweepChunk = 1024
	// probeAfter sweeps an idle connection is asked once whether its client has
	// closed its side, in the same breath as its last request. Nothing else
	// would tell before the idle time is over.
	probeAfter = 2
	// lingerTimeout is how long a client has to close its side after the last reply.
	lingerTimeout = 500 * time.Millisecond
	// minIdleTimeout is what is left of the idle time when the table is full: enough
	// for a browser to ask for a page's pictures.
	minIdleTimeout = 2 * time.Second
	// minHeaderTimeout is what is left of the header time: a browser sends a request
	// in one packet or two.
	minHeaderTimeout = time.Second
	// minWriteTimeout is what is left of the time to read a reply: 100 kB of it at
	// 160 kbit/s.
	minWriteTimeout = 5 * time.Second
	// minBodyLag is what is left of the time that a body may be behind its rate
	// when net/http has as many connections as it may.
	minBodyLag = time.Second
)

// connTable holds all connections. There is one timer for all of them: to set one for
// each request would cost more than to answer it.
type connTable struct {
	sweeps atomic.Uint32 // sweeps so far
	open   atomic.Int64

	mu    sync.Mutex // guards what follows, and each connection's at
	conns []*conn
}

func (t *connTable) add(c *conn) {
	t.open.Add(1)
	c.state.Store(packState(stateNew, t.sweeps.Load()))
	t.mu.Lock()
	defer t.mu.Unlock()
	c.tableIndex = len(t.conns)
	t.conns = append(t.conns, c)
}

func (t *connTable) remove(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := len(t.conns) - 1
	t.conns[c.tableIndex] = t.conns[last]
	t.conns[c.tableIndex].tableIndex = c.tableIndex
	t.conns[last] = nil
	t.conns = t.conns[:last]
	t.open.Add(-1)
}

// enterState begins a phase, as if at a given sweep. It reports false if the sweep has
// ended the connection. Only who serves the connection calls it.
func (t *connTable) enterState(c *conn, p connState, tick uint32) bool {
	for {
		was := c.state.Load()
		if stateOf(was) == stateClosing {
			return false
		}
		if c.state.CompareAndSwap(was, packState(p, tick)) {
			return true
		}
	}
}

// timeouts is how long each phase may last, in sweeps; 0 is without end.
type timeouts [stateClosing + 1]uint32

// timeouts gives the times of this moment.
func (cfg *Config) timeouts(every time.Duration, open int64, draining bool) (p timeouts) {
	ticks := func(d time.Duration) uint32 { return uint32((d+every-1)/every) + 1 }
	most := int64(cfg.MaxConnections)
	idle := ticks(scaleTimeout(cfg.IdleTimeout, minIdleTimeout, open, most))
	header := ticks(scaleTimeout(cfg.HeaderTimeout, minHeaderTimeout, open, most))
	p[stateNew], p[stateReading] = header, header
	p[stateIdle], p[stateNetHTTPIdle] = idle, idle
	p[stateFlushing] = ticks(scaleTimeout(cfg.WriteTimeout, minWriteTimeout, open, most))
	p[stateLingering] = ticks(lingerTimeout)
	if draining {
		p[stateNew] = ticks(newConnGrace)
		p[stateIdle], p[stateNetHTTPIdle] = ticks(drainGrace), ticks(drainGrace)
	}
	return p
}

// scaleTimeout is how long something may last: all of the configured time while a table
// is at most half full, and less and less of it up to the least when it is full.
// Who has gone home makes room for who comes, and so does who only pretends.
func scaleTimeout(configured, least time.Duration, open, limit int64) time.Duration {
	free := limit - open
	if configured <= least || limit <= 0 || free*2 >= limit {
		return configured
	}
	return least + time.Duration(float64(configured-least)*float64(max(free, 0)*2)/float64(limit))
}

// sweep ends the connections whose time is over.
func (t *connTable) sweep(p timeouts) {
	tick := t.sweeps.Add(1)
	for from := 0; ; from += sweepChunk {
		over, seen := t.collectOverdue(from, tick, p)
		for _, late := range over {
			if !late.hasUnreadRequest() && late.state.CompareAndSwap(late.was, packState(stateClosing, tick)) {
				late.abort()
			}
		}
		for _, c := range seen {
			if w := c.state.Load(); stateOf(w) == stateIdle && c.isHalfClosed() &&
				c.state.CompareAndSwap(w, packState(stateClosing, tick)) {
				c.abort()
			}
		}
		t.mu.Lock()
		done := from+sweepChunk >= len(t.conns)
		t.mu.Unlock()
		if done {
			return
		}
	}
}

// overdueConn is a connection whose time is over, and its word at that moment.
type overdueConn struct {
	*conn
	was uint32
}

// hasUnreadRequest reports whether a client has done its part in time and it is the board
// that is behind: what it has sent has not been read yet. Its first byte moves a
// connection out of these two phases, so that nobody can gain time by a trickle.
func (l overdueConn) hasUnreadRequest() bool {
	is := stateOf(l.was)
	return (is == stateNew || is == stateIdle) && l.hasUnread()
}

// collectOverdue gives the connections whose time is over, and those that are to be
// looked at closely. What moves within the table meanwhile is found next time.
func (t *connTable) collectOverdue(from int, tick uint32, p timeouts) (over []overdueConn, seen []*conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if from >= len(t.conns) {
		return nil, nil
	}
	for _, c := range t.conns[from:min(from+sweepChunk, len(t.conns))] {
		w := c.state.Load()
		long, is := ticksSince(w, tick), stateOf(w)
		switch {
		case p[is] != 0 && long >= p[is]:
			over = append(over, overdueConn{c, w})
		case is == stateIdle && long >= probeAfter && w&probedBit == 0:
			if c.state.CompareAndSwap(w, w|probedBit) {
				seen = append(seen, c)
			}
		}
	}
	return over, seen
}

// mostAwaitingClient is the connection for whose client most requests of HTTP/2 wait, and how many.
func (t *connTable) mostAwaitingClient() (most *conn, waiting int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.conns {
		if n := c.awaitingClient.Load(); n > waiting {
			most, waiting = c, n
		}
	}
	return most, waiting
}

// abortAll ends every connection, whatever it is doing.
func (t *connTable) abortAll() {
	t.mu.Lock()
	all := append([]*conn(nil), t.conns...)
	t.mu.Unlock()
	for _, c := range all {
		c.state.Store(packState(stateClosing, t.sweeps.Load()))
		c.abort()
	}
}
