package node_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var goodput = flag.Bool("goodput", false, "measure what a board does under twice the load that it can carry")

const (
	// visitReplies is the number of replies of a visit: two pages from memory, and two
	// that are new, which cost the board ten times as much; otherwise this process could
	// not simulate twice the crowd that the board can serve.
	visitReplies = 4
	// Every formEvery-th visitor sends an empty form.
	formEvery = 16
	// visitTime bounds a visit.
	visitTime = 10 * time.Second
	// visitorsMost bounds the visitors at once in an open loop; this process cannot
	// simulate more.
	visitorsMost = 6000
	phaseTime    = 8 * time.Second
)

// TestGoodputAtTwiceTheLoad reports the best throughput of a board with mixed traffic (a
// closed loop), and then its goodput at twice that load (an open loop). It asserts only
// that the board is as before when the crowd has left:
//
//	go test ./node -run Goodput -v -goodput
//
// The crowd has one CPU to itself. The board has a quarter of the other, because this
// process could not simulate twice the crowd for a whole one: an idle loop uses the
// rest.
func TestGoodputAtTwiceTheLoad(t *testing.T) {
	if !*goodput {
		t.Skip("a measurement: run it with -goodput")
	}
	pinToCPU(t, 1)
	r := newRack(t, 1, withShop(t, 1_000_000, ""))
	board := r.boards[0]
	board.before = []string{"taskset", "-c", "0", "nice", "-n", "5"} // a third of the weight of what has 0
	idle := exec.Command("taskset", "-c", "0", "sh", "-c", "while :; do :; done")
	if err := idle.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		idle.Process.Kill()
		idle.Wait()
	}()
	board.start()
	board.waitReady()
	for board.get("/").status != http.StatusOK {
		time.Sleep(100 * time.Millisecond)
	}
	address := strings.TrimPrefix(board.http, "http://")
	ahead := time.Now().Add(phaseTime / 2)
	visitClosed(address, 8, ahead) // warms everything up

	best, bestPerSecond, bestPerCPU := 0, 0.0, 0.0
	for _, visitors := range []int{16, 64, 256} {
		before := r.cpu()
		l := visitClosed(address, visitors, time.Now().Add(phaseTime/2))
		l.cpu = r.cpu() - before
		t.Logf("closed loop of %3d: %s", visitors, l)
		bestPerCPU = max(bestPerCPU, l.perCPU())
		if l.perSecond() > bestPerSecond {
			best, bestPerSecond = visitors, l.perSecond()
		}
	}
	rate := 2 * bestPerSecond / visitReplies
	t.Logf("best: %.0f replies a second, with %d visitors; now %.0f visitors a second come, worth twice that", bestPerSecond, best, rate)
	before := r.cpu()
	l := visitOpen(address, rate, phaseTime, func() { before = r.cpu() - before })
	l.cpu = before
	t.Logf("twice the load:     %s", l)
	t.Logf("goodput %.2f of the best, for each second of the board's CPU %.2f; offered %.2f of it; resident at most %d MB; shed %.0f, refused %.0f",
		l.perSecond()/bestPerSecond, l.perCPU()/bestPerCPU, float64(l.came.Load()*visitReplies)/l.took.Seconds()/bestPerSecond,
		peakResident(t, board.cmd.Process.Pid)>>20, board.metric("bramble_http_requests_shed_total"), board.metric("bramble_http_connections_refused_total"))

	left := time.Now()
	eventually(t, "all to be as before", func() (bool, string) {
		after := visitClosed(address, 1, time.Now().Add(100*time.Millisecond))
		ok := after.bad.Load() == 0 && after.gone.Load() == 0 && after.good.Load() > 0
		return ok, after.String()
	})
	var own unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &own); err != nil {
		t.Fatal(err)
	}
	t.Logf("the crowd itself took %v of CPU in %v", time.Duration(own.Utime.Nano()+own.Stime.Nano()).Round(time.Millisecond), l.took)
	t.Logf("%v after the crowd's leaving all is as before", time.Since(left).Round(10*time.Millisecond))
	if n := board.metric("bramble_http_pressure_ratio"); n > 1 {
		t.Errorf("pressure is %v", n)
	}
}

// pinToCPU keeps this process on one CPU.
func pinToCPU(t *testing.T, cpu int) {
	t.Helper()
	var set unix.CPUSet
	set.Set(cpu)
	tasks, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		id, err := strconv.Atoi(filepath.Base(task))
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.SchedSetaffinity(id, &set); err != nil {
			t.Skipf("CPU %d cannot be had for the crowd: %v", cpu, err)
		}
	}
}

// peakResident is the most memory that a process had, in bytes.
func peakResident(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	var kb int64
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

// tally counts the results of a crowd.
type tally struct {
	took, cpu             time.Duration
	came                  atomic.Int64 // visitors
	good, bad, shed, gone atomic.Int64 // replies: as they should be, wrong, 503; visitors without one
	costly, forms         atomic.Int64 // of the good

	mu    sync.Mutex // guards waits
	waits []time.Duration
}

func (t *tally) perSecond() float64 { return float64(t.good.Load()) / t.took.Seconds() }

// perCPU returns the good replies for each second of the board's CPU, which does not
// depend on the machine's other load.
func (t *tally) perCPU() float64 { return float64(t.good.Load()) / max(t.cpu.Seconds(), 0.01) }

func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.Sort(t.waits)
	at := func(share float64) time.Duration {
		if len(t.waits) == 0 {
			return 0
		}
		return t.waits[int(share*float64(len(t.waits)-1))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("%6.0f good replies a second, %6.0f for one of CPU (%d costly, %d forms), p50 %v, p99 %v, %d of 503, %d wrong, %d visitors without an answer",
		t.perSecond(), t.perCPU(), t.costly.Load(), t.forms.Load(), at(0.5), at(0.99), t.shed.Load(), t.bad.Load(), t.gone.Load())
}

// visitClosed simulates a number of visitors who return until a time (closed loop).
func visitClosed(address string, visitors int, until time.Time) *tally {
	l := new(tally)
	began := time.Now()
	var all sync.WaitGroup
	for range visitors {
		all.Go(func() {
			for time.Now().Before(until) {
				l.visit(address)
			}
		})
	}
	all.Wait()
	l.took = time.Since(began)
	return l
}

// visitOpen simulates visitors who arrive at a rate, whatever the replies (open loop),
// and calls over when the last has arrived.
func visitOpen(address string, rate float64, d time.Duration, over func()) *tally {
	l := new(tally)
	began := time.Now()
	var inside atomic.Int64
	var all sync.WaitGroup
	goods := int64(0)
	for due := 0.0; ; {
		passed := time.Since(began)
		if passed >= d {
			goods = l.good.Load()
			over()
			break
		}
		for ; due < rate*passed.Seconds(); due++ {
			if inside.Add(1) > visitorsMost {
				inside.Add(-1)
				l.came.Add(1)
				l.gone.Add(1)
				continue
			}
			all.Go(func() {
				l.visit(address)
				inside.Add(-1)
			})
		}
		time.Sleep(time.Millisecond)
	}
	l.took = time.Since(began)
	all.Wait()
	l.good.Store(goods) // the replies while they arrived
	return l
}

// visit simulates one visit on one connection.
func (t *tally) visit(address string) {
	n := t.came.Add(1)
	ctx, leave := context.WithTimeout(context.Background(), visitTime)
	defer leave()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		t.gone.Add(1)
		return
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(visitTime)); err != nil {
		t.gone.Add(1)
		return
	}
	r := bufio.NewReaderSize(c, 4096)
	for i := range visitReplies {
		request, kind := visitPage("/"), (*atomic.Int64)(nil)
		switch {
		case i == visitReplies-1 && n%formEvery == 0:
			request, kind = "POST /p/berry/order HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\nname=me", &t.forms
		case i%2 == 1:
			request, kind = visitPage(fmt.Sprintf("/p/berry?again=%d", rand.Uint64())), &t.costly
		}
		began := time.Now()
		if _, err := io.WriteString(c, request); err != nil {
			t.gone.Add(1)
			return
		}
		status, last, err := readReply(r)
		switch {
		case err != nil:
			t.gone.Add(1)
			return
		case status == http.StatusServiceUnavailable:
			t.shed.Add(1)
		case status >= 500:
			t.bad.Add(1)
		default:
			t.good.Add(1)
			if kind != nil {
				kind.Add(1)
			}
			t.mu.Lock()
			t.waits = append(t.waits, time.Since(began))
			t.mu.Unlock()
		}
		if last {
			return
		}
	}
}

func visitPage(target string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: a visitor\r\nAccept: text/html\r\n\r\n"
}

// readReply reads a reply with as little work as possible, and returns its status and
// whether it is the connection's last.
func readReply(r *bufio.Reader) (status int, last bool, err error) {
	length := 0
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, false, err
		}
		switch text := strings.TrimRight(string(line), "\r\n"); {
		case first:
			if _, err := fmt.Sscanf(text, "HTTP/1.1 %d", &status); err != nil {
				return 0, false, err
			}
		case text == "":
			_, err := r.Discard(length)
			return status, last, err
		case strings.HasPrefix(text, "Content-Length: "):
			if length, err = strconv.Atoi(text[len("Content-Length: "):]); err != nil {
				return 0, false, err
			}
		case text == "Connection: close":
			last = true
		}
	}
}
