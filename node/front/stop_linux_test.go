package front

import (
	"crypto/tls"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// countIn returns the number of connections in a state.
func (t *connTable) countIn(s connState) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.conns {
		if c.currentState() == s {
			n++
		}
	}
	return n
}

// drainFront stops a Front, and returns when the stop is past everything that does not
// wait for the clients that are there.
func drainFront(t *testing.T, f *Front, stop func()) {
	t.Helper()
	stop()
	until(t, "it drains", f.isDraining.Load)
	const drainSweeps = 5
	before := f.conns.sweeps.Load()
	until(t, "the table is swept", func() bool { return f.conns.sweeps.Load() >= before+drainSweeps })
}

// pausedConn sends the first bytes of what is written to it, and the rest when goOn is
// closed.
type pausedConn struct {
	net.Conn
	first int
	goOn  <-chan struct{}
}

func (p *pausedConn) Write(b []byte) (int, error) {
	first := min(p.first, len(b))
	p.first = len(b)
	n, err := p.Conn.Write(b[:first])
	if err != nil || n == len(b) {
		return n, err
	}
	<-p.goOn
	rest, err := p.Conn.Write(b[n:])
	return n + rest, err
}

// A client that has connected before the stop is answered, even if it has sent nothing by
// then, and whatever protocol it negotiates afterwards.
func TestStopServesNewConnections(t *testing.T) {
	change, client := withTLS(t)
	t.Run("without TLS", func(t *testing.T) {
		f, stop, _ := startFront(t, newTestSite(t), change)
		v := dialFront(t, f)
		until(t, "it is accepted", func() bool { return f.conns.countIn(stateNew) == 1 })
		drainFront(t, f, stop)
		v.isLastReply()
	})
	for name, begun := range map[string]struct {
		bytes int // of the ClientHello
		state connState
	}{
		"silent":             {0, stateNew},
		"half a ClientHello": {recordHeaderSize, stateHandshake},
	} {
		for _, proto := range []string{h1Proto, h2Proto} {
			t.Run(name+" "+proto, func(t *testing.T) {
				f, stop, served := startFront(t, newTestSite(t), change)
				v, goOn, shaken := dialAddr(t, f.https.listener.Addr()), make(chan struct{}), make(chan error, 1)
				cfg := client.Clone()
				cfg.NextProtos = []string{proto}
				secure := tls.Client(&pausedConn{v.Conn, begun.bytes, goOn}, cfg)
				go func() { shaken <- secure.Handshake() }()
				until(t, "the board waits for it", func() bool { return f.conns.countIn(begun.state) == 1 })
				drainFront(t, f, stop)
				close(goOn)
				if err := <-shaken; err != nil {
					t.Fatal(err)
				}
				v.Conn = secure
				if v.r.Reset(secure); proto == h1Proto {
					v.isLastReply()
				} else {
					c := startHTTP2(t, v, 1<<20)
					if err := c.ask(1, "/"); err != nil {
						t.Fatal(err)
					}
					c.awaitReply(1)
				}
				v.Close()
				if err := <-served; err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// isLastReply sends a request whose reply must be the connection's last.
func (c *testClient) isLastReply() {
	c.t.Helper()
	c.send(get("/"))
	if resp, _ := c.reply(); resp.StatusCode != http.StatusOK || !resp.Close {
		c.t.Errorf("got %s, last: %v", resp.Status, resp.Close)
	}
}

// Without a GOAWAY a client could not know whether a request was made that was on its way
// when its connection ended. It comes first even if the connection has been idle for long.
func TestStopSendsGoAwayBeforeHTTP2Ends(t *testing.T) {
	change, client := withTLS(t)
	for name, requests := range map[string]uint32{"new": 0, "idle": 1} {
		t.Run(name, func(t *testing.T) {
			f, stop, served := startFront(t, newTestSite(t), change, func(cfg *Config) { cfg.IdleTimeout = time.Hour })
			c := dialHTTP2(t, f, client, 1<<20)
			if requests > 0 {
				if err := c.ask(1, "/"); err != nil {
					t.Fatal(err)
				}
				c.awaitReply(1)
			}
			until(t, "it is idle", func() bool { return f.conns.countIn(stateHTTP2Idle) == 1 })
			f.conns.sweeps.Add(100) // it has been for long
			stop()
			for {
				frame, err := c.ReadFrame()
				if err != nil {
					t.Fatalf("it ends without a GOAWAY: %v", err)
				}
				if away, ok := frame.(*http2.GoAwayFrame); ok {
					if away.ErrCode != http2.ErrCodeNo || away.LastStreamID != requests {
						t.Errorf("got %v", away)
					}
					break
				}
			}
			c.to.Close()
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}

// A connection that has been idle for long has the same grace after the stop as any other.
func TestDrainGraceBeginsWithTheStop(t *testing.T) {
	cfg := Config{HeaderTimeout: time.Minute, IdleTimeout: time.Minute, WriteTimeout: time.Minute, MaxConnections: 100}
	for _, c := range []struct {
		waited time.Duration
		idle   bool // may be ended
	}{{0, false}, {drainGrace - 1, false}, {drainGrace, true}, {time.Second, true}} {
		limits := cfg.drainTimeouts(1, c.waited)
		if ends := limits[stateIdle] > 0; ends != c.idle || limits[stateNetHTTPIdle] != limits[stateIdle] {
			t.Errorf("after %v: %v", c.waited, limits)
		}
		if limits[stateHTTP2Idle] != 0 || limits[stateNew] <= limits[stateIdle] {
			t.Errorf("after %v: %v", c.waited, limits)
		}
	}
}
