package front

import (
	"sync"
	"sync/atomic"
	"time"

	"bramble/node/front/admission"
)

const (
	// maxSweepInterval is the usual interval between two sweeps: half a second is short
	// against any idle time, and to sweep 20,000 connections takes a board about 6 ms.
	maxSweepInterval = 500 * time.Millisecond
	// minSweepInterval is the shortest interval, for short timeouts.
	minSweepInterval = 10 * time.Millisecond
	// sweepChunk is the number of connections that are checked under one lock: for about 0.3
	// ms on a board none can be added or removed.
	sweepChunk = 1024
	// probeAfter is the number of sweeps after which the kernel is asked once whether an
	// idle connection's client has closed its side in the same packet as its last request.
	// Nothing else would report it before the idle time is over.
	probeAfter = 2
	// lingerTimeout limits the time until a client closes its side after the last reply.
	lingerTimeout = 500 * time.Millisecond
	// minIdleTimeout is the idle time when the table is full: enough for a browser to
	// request a page's pictures.
	minIdleTimeout = 2 * time.Second
	// minHeaderTimeout is the header time when the table is full: a browser sends a request
	// in one packet or two.
	minHeaderTimeout = time.Second
	// drainGrace is the idle time after the stop, so that a request that is on its way still
	// finds its connection: a round trip to most clients.
	drainGrace = 100 * time.Millisecond
	// newConnGrace is the same for a connection that has just been made: its client is
	// about to send a request, and knows no reason to send it elsewhere.
	newConnGrace = 2 * time.Second
)

// connTable holds all connections. One timer serves them all: setting one for each
// request would cost more than answering it.
type connTable struct {
	sweeps atomic.Uint32 // so far
	open   atomic.Int64

	mu    sync.Mutex // guards what follows, and each connection's tableIndex
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

// timeouts limits how long each state may last, in sweeps; 0: no limit.
type timeouts [stateCount]uint32

// sweepsIn returns the number of sweeps in which d has passed.
func sweepsIn(d, interval time.Duration) uint32 { return uint32((d+interval-1)/interval) + 1 }

func (cfg *Config) timeouts(interval time.Duration, open int64) (t timeouts) {
	scaled := func(configured, least time.Duration) uint32 {
		return sweepsIn(admission.ScaleTimeout(configured, least, open, int64(cfg.MaxConnections)), interval)
	}
	header, idle := scaled(cfg.HeaderTimeout, minHeaderTimeout), scaled(cfg.IdleTimeout, minIdleTimeout)
	t[stateNew], t[stateHandshake], t[stateReading] = header, header, header
	t[stateIdle], t[stateNetHTTPIdle], t[stateHTTP2Idle] = idle, idle, idle
	t[stateFlushing] = scaled(cfg.WriteTimeout, admission.MinWriteTimeout)
	t[stateLingering] = sweepsIn(lingerTimeout, interval)
	return t
}

// drainTimeouts returns the timeouts at a time after the stop. Connections that have been
// idle for long have drainGrace too; those with HTTP/2 are httpsFront's to end.
func (cfg *Config) drainTimeouts(open int64, waited time.Duration) timeouts {
	t := cfg.timeouts(drainInterval, open)
	t[stateNew] = sweepsIn(newConnGrace, drainInterval)
	t[stateIdle], t[stateNetHTTPIdle], t[stateHTTP2Idle] = 0, 0, 0
	if waited >= drainGrace {
		t[stateIdle], t[stateNetHTTPIdle] = sweepsIn(drainGrace, drainInterval), sweepsIn(drainGrace, drainInterval)
	}
	return t
}

// sweep ends the connections whose states have lasted too long.
func (t *connTable) sweep(limits timeouts) {
	sweep := t.sweeps.Add(1)
	for from := 0; ; from += sweepChunk {
		overdue, toProbe := t.collectOverdue(from, sweep, limits)
		for _, o := range overdue {
			if !o.hasUnreadRequest() && o.beginClosing(o.was, sweep) {
				o.abort()
			}
		}
		for _, c := range toProbe {
			if w := c.state.Load(); stateOf(w) == stateIdle && c.isHalfClosed() && c.beginClosing(w, sweep) {
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

// overdueConn is a connection whose state has lasted too long, and its state word at that
// moment.
type overdueConn struct {
	*conn
	was uint32
}

// hasUnreadRequest reports whether the client has sent something in time that the board
// has not read yet: then the board is late. The first byte moves a connection out of
// these two states, so that no client can gain time by a trickle.
func (o overdueConn) hasUnreadRequest() bool {
	state := stateOf(o.was)
	return (state == stateNew || state == stateIdle) && o.hasUnread()
}

// collectOverdue returns the connections whose states have lasted too long, and those
// that must be probed. Connections that move within the table meanwhile are found next
// time.
func (t *connTable) collectOverdue(from int, sweep uint32, limits timeouts) (overdue []overdueConn, toProbe []*conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if from >= len(t.conns) {
		return nil, nil
	}
	for _, c := range t.conns[from:min(from+sweepChunk, len(t.conns))] {
		w := c.state.Load()
		age, state := sweepsSince(w, sweep), stateOf(w)
		switch {
		case limits[state] != 0 && age >= limits[state]:
			overdue = append(overdue, overdueConn{c, w})
		case state == stateIdle && age >= probeAfter && w&probedBit == 0:
			if c.state.CompareAndSwap(w, w|probedBit) {
				toProbe = append(toProbe, c)
			}
		}
	}
	return overdue, toProbe
}

// mostAwaiting returns the connection with the most requests of HTTP/2 that wait for its
// client, and their number.
func (t *connTable) mostAwaiting() (most *conn, waiting int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.conns {
		if n := c.http2.awaitingClient.Load(); n > waiting {
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
		c.forceClosing(t.sweeps.Load())
		c.abort()
	}
}
