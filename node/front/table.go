package front

import (
	"sync"
	"sync/atomic"
	"time"
)

// phase is what a connection is doing, which decides how long it may.
type phase uint32

const (
	phaseNew      phase = iota // nothing has come yet
	phaseIdle                  // between two requests
	phaseHeader                // a request has begun to come
	phaseWriting               // the client does not take its reply
	phaseLinger                // the last reply is out; the client is to close
	phaseBusy                  // replies are being made
	phaseAway                  // net/http answers, and watches over the time
	phaseAwayIdle              // net/http waits for the next request
	phaseClosing               // nothing may begin any more
	phaseBits     = 4
	phaseMask     = 1<<phaseBits - 1
	// wordSeen marks a phase that the sweep has looked at closely.
	wordSeen = 1 << phaseBits
	tickBits = phaseBits + 1
)

// word is a phase and since when, in one word so that a connection and the sweep
// never disagree: a phase in the lowest bits, and above the mark the number of
// sweeps there had been when it began. 27 bits of half seconds are two years.
func word(p phase, tick uint32) uint32 { return uint32(p) | tick<<tickBits }

func phaseOf(w uint32) phase { return phase(w & phaseMask) }

// ticksSince is how many sweeps ago the word's phase began.
func ticksSince(w, tick uint32) uint32 { return (tick<<tickBits - w&^(1<<tickBits-1)) >> tickBits }

const (
	// sweepEvery is how often the connections are looked at: half a second is
	// nothing to an idle time, and 20,000 of them take a board about 6 ms.
	sweepEvery = 500 * time.Millisecond
	// sweepLeast is how often at most, where times are short.
	sweepLeast = 10 * time.Millisecond
	// sweepBatch connections are looked at under one lock: for about 0.3 ms on a
	// board nobody can come or go.
	sweepBatch = 1024
	// seenAfter sweeps an idle connection is asked once whether its client has
	// closed its side, in the same breath as its last request. Nothing else
	// would tell before the idle time is over.
	seenAfter = 2
	// lingerTime is how long a client has to close its side after the last reply.
	lingerTime = 500 * time.Millisecond
	// leastIdle is what is left of the idle time when the table is full: enough
	// for a browser to ask for a page's pictures.
	leastIdle = 2 * time.Second
	// leastHeader is what is left of the header time: a browser sends a request
	// in one packet or two.
	leastHeader = time.Second
	// leastWriting is what is left of the time to read a reply: 100 kB of it at
	// 160 kbit/s.
	leastWriting = 5 * time.Second
	// leastBody is what is left of the time that a body may be behind its rate
	// when net/http has as many connections as it may.
	leastBody = time.Second
)

// table holds all connections. There is one timer for all of them: to set one for
// each request would cost more than to answer it.
type table struct {
	tick atomic.Uint32 // sweeps so far
	open atomic.Int64

	mu    sync.Mutex // guards what follows, and each connection's at
	conns []*conn
}

func (t *table) add(c *conn) {
	t.open.Add(1)
	c.word.Store(word(phaseNew, t.tick.Load()))
	t.mu.Lock()
	defer t.mu.Unlock()
	c.at = len(t.conns)
	t.conns = append(t.conns, c)
}

func (t *table) remove(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := len(t.conns) - 1
	t.conns[c.at] = t.conns[last]
	t.conns[c.at].at = c.at
	t.conns[last] = nil
	t.conns = t.conns[:last]
	t.open.Add(-1)
}

// enter begins a phase, as if at a given sweep. It reports false if the sweep has
// ended the connection. Only who serves the connection calls it.
func (t *table) enter(c *conn, p phase, tick uint32) bool {
	for {
		was := c.word.Load()
		if phaseOf(was) == phaseClosing {
			return false
		}
		if c.word.CompareAndSwap(was, word(p, tick)) {
			return true
		}
	}
}

// patience is how long each phase may last, in sweeps; 0 is without end.
type patience [phaseClosing + 1]uint32

// patience gives the times of this moment.
func (cfg *Config) patience(every time.Duration, open int64, draining bool) (p patience) {
	ticks := func(d time.Duration) uint32 { return uint32((d+every-1)/every) + 1 }
	most := int64(cfg.MaxConnections)
	idle := ticks(shrunk(cfg.IdleTimeout, leastIdle, open, most))
	header := ticks(shrunk(cfg.HeaderTimeout, leastHeader, open, most))
	p[phaseNew], p[phaseHeader] = header, header
	p[phaseIdle], p[phaseAwayIdle] = idle, idle
	p[phaseWriting] = ticks(shrunk(cfg.WriteTimeout, leastWriting, open, most))
	p[phaseLinger] = ticks(lingerTime)
	if draining {
		p[phaseNew] = ticks(firstGrace)
		p[phaseIdle], p[phaseAwayIdle] = ticks(drainGrace), ticks(drainGrace)
	}
	return p
}

// shrunk is how long something may last: all of the configured time while a table
// is at most half full, and less and less of it up to the least when it is full.
// Who has gone home makes room for who comes, and so does who only pretends.
func shrunk(configured, least time.Duration, open, limit int64) time.Duration {
	free := limit - open
	if configured <= least || limit <= 0 || free*2 >= limit {
		return configured
	}
	return least + time.Duration(float64(configured-least)*float64(max(free, 0)*2)/float64(limit))
}

// sweep ends the connections whose time is over.
func (t *table) sweep(p patience) {
	tick := t.tick.Add(1)
	for from := 0; ; from += sweepBatch {
		over, seen := t.overdue(from, tick, p)
		for _, late := range over {
			if !late.unheard() && late.word.CompareAndSwap(late.was, word(phaseClosing, tick)) {
				late.end()
			}
		}
		for _, c := range seen {
			if w := c.word.Load(); phaseOf(w) == phaseIdle && c.halfClosed() &&
				c.word.CompareAndSwap(w, word(phaseClosing, tick)) {
				c.end()
			}
		}
		t.mu.Lock()
		done := from+sweepBatch >= len(t.conns)
		t.mu.Unlock()
		if done {
			return
		}
	}
}

// late is a connection whose time is over, and its word at that moment.
type late struct {
	*conn
	was uint32
}

// unheard reports whether a client has done its part in time and it is the board
// that is behind: what it has sent has not been read yet. Its first byte moves a
// connection out of these two phases, so that nobody can gain time by a trickle.
func (l late) unheard() bool {
	is := phaseOf(l.was)
	return (is == phaseNew || is == phaseIdle) && l.unread()
}

// overdue gives the connections whose time is over, and those that are to be
// looked at closely. What moves within the table meanwhile is found next time.
func (t *table) overdue(from int, tick uint32, p patience) (over []late, seen []*conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if from >= len(t.conns) {
		return nil, nil
	}
	for _, c := range t.conns[from:min(from+sweepBatch, len(t.conns))] {
		w := c.word.Load()
		long, is := ticksSince(w, tick), phaseOf(w)
		switch {
		case p[is] != 0 && long >= p[is]:
			over = append(over, late{c, w})
		case is == phaseIdle && long >= seenAfter && w&wordSeen == 0:
			if c.word.CompareAndSwap(w, w|wordSeen) {
				seen = append(seen, c)
			}
		}
	}
	return over, seen
}

// laziest is the connection for whose client most requests of HTTP/2 wait, and how many.
func (t *table) laziest() (most *conn, waiting int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.conns {
		if n := c.awaited.Load(); n > waiting {
			most, waiting = c, n
		}
	}
	return most, waiting
}

// endAll ends every connection, whatever it is doing.
func (t *table) endAll() {
	t.mu.Lock()
	all := append([]*conn(nil), t.conns...)
	t.mu.Unlock()
	for _, c := range all {
		c.word.Store(word(phaseClosing, t.tick.Load()))
		c.end()
	}
}
