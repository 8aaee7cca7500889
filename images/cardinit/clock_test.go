package cardinit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// startTimeServer answers SNTP (RFC 4330) on loopback, off by a difference that it reads at
// every query, until the test ends. It returns its address.
func startTimeServer(t *testing.T, ahead func() time.Duration) string {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		query := make([]byte, 256)
		for {
			n, from, err := conn.ReadFrom(query)
			if err != nil {
				return
			}
			if n < 48 {
				continue
			}
			since1900 := func() uint64 {
				at := time.Now().Add(ahead())
				return uint64(at.Unix()+2208988800)<<32 | uint64(at.Nanosecond())<<32/1e9
			}
			reply := make([]byte, 48)
			reply[0], reply[1], reply[2], reply[3] = 0<<6|4<<3|4, 1, 6, 0xec // a server of stratum 1
			copy(reply[24:32], query[40:48])
			binary.BigEndian.PutUint64(reply[16:], since1900())
			binary.BigEndian.PutUint64(reply[32:], since1900())
			binary.BigEndian.PutUint64(reply[40:], since1900())
			_, _ = conn.WriteTo(reply, from)
		}
	}()
	return conn.LocalAddr().String()
}

// newTestClock returns a clock with three loopback servers, and the differences of their
// times.
func newTestClock(t *testing.T, log *logRecorder, ahead ...*atomic.Int64) (*clockSync, *fakeSystem, Paths) {
	var servers []string
	for _, a := range ahead {
		servers = append(servers, startTimeServer(t, func() time.Duration { return time.Duration(a.Load()) }))
	}
	p, m := fakePaths(t), newFakeSystem()
	return newClockSync(m, p, func() []string { return servers }, log.logf), m, p
}

func TestALyingTimeServerIsOutvoted(t *testing.T) {
	var log logRecorder
	var good, alike, lies atomic.Int64
	setTimes := func(g, a, l time.Duration) { good.Store(int64(g)); alike.Store(int64(a)); lies.Store(int64(l)) }
	setTimes(time.Hour, time.Hour+20*time.Millisecond, 400*24*time.Hour)
	c, m, p := newTestClock(t, &log, &lies, &good, &alike)
	if err := c.syncOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.set:
	default:
		t.Error("the channel set is not closed")
	}
	if !ClockIsSet(p) || TimeServers(p) != 2 || len(m.clock) != 1 || time.Until(m.clock[0]).Round(time.Minute) != time.Hour {
		t.Errorf("set to %v by %d servers", m.clock, TimeServers(p))
	}
	if _, err := os.Stat(p.SavedFile("clock")); err != nil {
		t.Errorf("the time is not saved for the next start: %v", err)
	}
	// Two lie alike, but not to the second: nobody is believed, and the operator hears it.
	setTimes(0, 3*time.Hour, 400*24*time.Hour)
	if err := c.syncOnce(t.Context()); err == nil || len(m.clock) != 1 || TimeServers(p) != 0 || !ClockIsSet(p) {
		t.Errorf("%v, %v, %d servers", err, m.clock, TimeServers(p))
	}
	if n := strings.Join(Notices(p), "\n"); !strings.Contains(n, "no majority agrees") || !log.contains("no majority agrees") {
		t.Errorf("notices %q", n)
	}
	setTimes(20*time.Millisecond, 21*time.Millisecond, 19*time.Millisecond)
	if err := c.syncOnce(t.Context()); err != nil || len(m.commandsWith("slew")) != 1 || TimeServers(p) != 3 || len(Notices(p)) != 0 {
		t.Errorf("%v, %v, %q", err, m.commandsWith(""), Notices(p))
	}
	setTimes(-40*365*24*time.Hour, -40*365*24*time.Hour, 0)
	if err := c.syncOnce(t.Context()); err == nil || len(m.clock) != 1 {
		t.Errorf("an impossible time is accepted: %v, %v", m.clock, err)
	}
}

func TestOneTimeServerAlone(t *testing.T) {
	var log logRecorder
	var ahead atomic.Int64
	ahead.Store(int64(time.Hour))
	c, m, p := newTestClock(t, &log, &ahead)
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0") // it never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	alone := c.servers()
	c.query = func(server string) (time.Duration, error) {
		if server == silent.LocalAddr().String() {
			return 0, errors.New("no answer")
		}
		return querySNTP(server)
	}
	c.servers = func() []string { return append(alone, silent.LocalAddr().String()) }
	if err := c.syncOnce(t.Context()); !errors.Is(err, errLone) || ClockIsSet(p) {
		t.Errorf("in the first round: %v", err)
	}
	if err := c.syncOnce(t.Context()); err != nil || !ClockIsSet(p) || TimeServers(p) != 1 || len(m.clock) != 1 {
		t.Errorf("in the second round: %v", err)
	}
	if n := strings.Join(Notices(p), "\n"); !strings.Contains(n, "depends on one time server alone") {
		t.Errorf("notices %q", n)
	}
	if err := c.syncOnce(t.Context()); err == nil || len(m.clock) != 1 { // the fake system has not moved the clock
		t.Errorf("one server alone makes a step of an hour: %v", err)
	}
}

func TestNoTimeServerAnswers(t *testing.T) {
	var log logRecorder
	c, _, p := newTestClock(t, &log)
	if err := c.syncOnce(t.Context()); !errors.Is(err, errNoTime) || ClockIsSet(p) || TimeServers(p) != 0 || len(Notices(p)) != 0 {
		t.Errorf("without a server: %v, %q", err, Notices(p))
	}
}

func TestSavedTimeIsRestored(t *testing.T) {
	var log logRecorder
	c, m, p := newTestClock(t, &log)
	later := time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)
	writeFiles(t, p.Data, map[string]string{"bramble/clock": later.Format(time.RFC3339)})
	c.restoreSaved()
	if len(m.clock) != 1 || !m.clock[0].Equal(later) || !c.saved.Equal(later) {
		t.Errorf("the clock continues from %v", m.clock)
	}
	for _, bad := range []string{"yesterday", "1999-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "2026-01-02T00:00:00Z"} {
		writeFiles(t, p.Data, map[string]string{"bramble/clock": bad})
		if c.restoreSaved(); len(m.clock) != 1 {
			t.Errorf("the saved time %s is accepted", bad)
		}
	}
}

func FuzzTimeServers(f *testing.F) {
	f.Add("3 1792000000000 60000\na\nb\nc\n")
	f.Add("set by a\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		p := fakePaths(t)
		writeFiles(t, p.Run, map[string]string{"bramble/clock": text})
		if n := TimeServers(p); n < 0 {
			t.Errorf("%d servers", n)
		}
		Notices(p)
	})
}

func TestTimeServersAfterAnothersStep(t *testing.T) {
	p := fakePaths(t)
	write := func(at time.Time, upThen, upNow float64) int {
		writeFiles(t, p.Run, map[string]string{"bramble/clock": fmt.Sprintf("3 %d %d\na\nb\nc\n", at.UnixMilli(), int64(upThen*1000))})
		writeFiles(t, p.Proc, map[string]string{"uptime": fmt.Sprintf("%.2f 12.00\n", upNow)})
		return TimeServers(p)
	}
	if n := write(time.Now().Add(-10*time.Minute), 100, 700); n != 3 {
		t.Errorf("ten minutes later: %d", n)
	}
	for _, leap := range []time.Duration{time.Minute, -time.Minute, 400 * 24 * time.Hour} {
		if n := write(time.Now().Add(-10*time.Minute-leap), 100, 700); n != 0 {
			t.Errorf("after a leap of %v: %d", leap, n)
		}
	}
}
