package purge

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bramble/cluster/link"
)

// fakeRack is a Roster and a Caller of purgers in one process.
type fakeRack struct {
	mu      sync.Mutex // guards what follows
	purgers map[string]*Syncer
	cut     map[string]bool // boards that nobody reaches and that reach nobody
	slow    map[string]time.Duration
	sent    int // messages
	known   int
}

type fakeSeat struct {
	rack *fakeRack
	name string
}

func (s fakeSeat) Peers() []link.Peer {
	s.rack.mu.Lock()
	defer s.rack.mu.Unlock()
	var peers []link.Peer
	for name := range s.rack.purgers {
		if name != s.name {
			peers = append(peers, link.Peer{Name: name})
		}
	}
	return peers
}

func (s fakeSeat) Known() int { return s.rack.known }

func (s fakeSeat) Control(ctx context.Context, board string, r *http.Request) (*http.Response, error) {
	s.rack.mu.Lock()
	to, cut := s.rack.purgers[board], s.rack.cut[board] || s.rack.cut[s.name]
	slow := s.rack.slow[board]
	s.rack.sent++
	s.rack.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if cut {
		return nil, fmt.Errorf("%s: %w", board, link.ErrPeerSilent)
	}
	w := httptest.NewRecorder()
	to.ServeHTTP(w, r.WithContext(ctx))
	return w.Result(), nil
}

func (r *fakeRack) cutOff(board string, cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut[board] = cut
}

// newFakeRack seats boards named a, b, c … and returns what they obey.
func newFakeRack(n int) (*fakeRack, []*Syncer, []*memory) {
	rack := &fakeRack{purgers: map[string]*Syncer{}, cut: map[string]bool{}, slow: map[string]time.Duration{}, known: n}
	var purgers []*Syncer
	var memories []*memory
	for i := range n {
		name := string(rune('a' + i))
		m := &memory{}
		seat := fakeSeat{rack, name}
		p := NewSyncer(newLog(Issuer(i+1), m), seat, seat, DefaultTiming(), slog.New(slog.DiscardHandler))
		rack.purgers[name] = p
		purgers, memories = append(purgers, p), append(memories, m)
	}
	return rack, purgers, memories
}

// run starts the pulses of all boards and returns what stops them.
func run(purgers []*Syncer) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, p := range purgers {
		running.Go(func() { p.Run(ctx) })
	}
	return func() { cancel(); running.Wait() }
}

// purge is what the console does: issue here, then tell the others.
func purge(ctx context.Context, p *Syncer, what Purge) (obeyed, absent []string, err error) {
	if err := p.Issue(what); err != nil {
		return nil, nil, err
	}
	obeyed, absent = p.Spread(ctx, time.Second)
	return obeyed, absent, nil
}

func TestAPurgeReachesEveryLiveBoardAtOnceAndTheOthersLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rack, purgers, memories := newFakeRack(3)
		rack.cutOff("c", true)
		stop := run(purgers)
		defer stop()
		obeyed, absent, err := purge(t.Context(), purgers[0], tag("x"))
		if err != nil || !slices.Equal(obeyed, []string{"b"}) || !slices.Equal(absent, []string{"c"}) {
			t.Errorf("Purge = %v, %v, %v; want b to have obeyed and c absent", obeyed, absent, err)
		}
		if !slices.Equal(memories[1].obeyed, []string{"tag:x"}) || len(memories[2].obeyed) != 0 {
			t.Errorf("b obeyed %v and c %v", memories[1].obeyed, memories[2].obeyed)
		}
		rack.cutOff("c", false)
		time.Sleep(2 * DefaultTiming().Interval)
		synctest.Wait()
		if !slices.Equal(memories[2].obeyed, []string{"tag:x"}) {
			t.Errorf("a pulse after it came back, c has obeyed %v", memories[2].obeyed)
		}
		for i, p := range purgers {
			if p.Digest() != purgers[0].Digest() {
				t.Errorf("board %d has another digest", i)
			}
		}
	})
}

func TestTwoNewBoardsLearnAHistoryOfAnyLength(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, purgers, memories := newFakeRack(2)
		for n := range 3*maxBatch + 1 {
			issue(t, purgers[0].log, tag(fmt.Sprint(n)))
		}
		if err := purgers[1].CatchUp(t.Context(), "a", purgers[0].Digest()); err != nil {
			t.Fatal(err)
		}
		if n := len(memories[1].obeyed); n != 3*maxBatch+1 {
			t.Errorf("b obeyed %d purges", n)
		}
	})
}

func TestMemoryIsBelievedOnlyInTouchWithMostOfTheRack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rack, purgers, _ := newFakeRack(5)
		stop := run(purgers)
		defer stop()
		wait := func() {
			time.Sleep(2 * DefaultTiming().Lease)
			synctest.Wait()
		}
		believable := func() (names string) {
			for i, p := range purgers {
				if p.LeaseValid() {
					names += string(rune('a' + i))
				}
			}
			return names
		}
		steps := []struct{ cut, want string }{
			{"", "abcde"},
			{"e", "abcd"},
			{"de", "abc"},
			{"cde", ""}, // two of five are no majority
			{"", "abcde"},
		}
		for _, step := range steps {
			for i := range purgers {
				name := string(rune('a' + i))
				rack.cutOff(name, strings.Contains(step.cut, name))
			}
			wait()
			if got := believable(); got != step.want {
				t.Errorf("with %q cut off, %q believe their memory, want %q", step.cut, got, step.want)
			}
		}
	})
}

// A process that was stopped does not believe its memory when it goes on,
// before it has heard from the others what it missed.
func TestAStoppedBoardLearnsWhatItMissedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rack, purgers, memories := newFakeRack(3)
		stop := run(purgers[:2]) // c does not run: it is stopped
		defer stop()
		stopped := purgers[2]
		if !stopped.RenewLease(t.Context()) {
			t.Fatal("c does not believe its memory although it has just asked")
		}
		rack.cutOff("c", true)
		if _, absent, err := purge(t.Context(), purgers[0], tag("x")); err != nil || !slices.Equal(absent, []string{"c"}) {
			t.Fatalf("absent %v, %v", absent, err)
		}
		time.Sleep(DefaultTiming().MaxPause)
		if stopped.LeaseValid() {
			t.Error("c believes its memory after a gap")
		}
		if stopped.RenewLease(t.Context()) {
			t.Error("c believes its memory although nobody could tell it what it missed")
		}
		rack.cutOff("c", false)
		if stopped.RenewLease(t.Context()) {
			t.Error("after a failure c asked again at once: a cut-off board would make every client wait")
		}
		time.Sleep(DefaultTiming().Interval)
		if !stopped.RenewLease(t.Context()) || !slices.Contains(memories[2].obeyed, "tag:x") {
			t.Errorf("c has obeyed %v", memories[2].obeyed)
		}
	})
}

// An exchange that began before a gap says nothing about the time after it.
func TestAnOldContactDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, purgers, _ := newFakeRack(3)
		p := purgers[0]
		began := p.Now()
		time.Sleep(DefaultTiming().MaxPause)
		p.noteTick()
		p.noteContact("b", began)
		if p.LeaseValid() {
			t.Error("a contact from before the gap was counted")
		}
		p.noteContact("b", p.Now())
		if !p.LeaseValid() {
			t.Error("a contact from after the gap was not counted")
		}
	})
}

func FuzzReadPulse(f *testing.F) {
	f.Add([]byte(`{"digest":"7","vector":{"1":2},"batch":[{"o":1,"a":0,"p":[{"k":2,"w":"x"}]}]}`))
	f.Add([]byte(`{"digest":"18446744073709551615","vector":null}`))
	f.Add([]byte(`{"batch":[{"o":1,"a":18446744073709551615,"p":[{"k":3}]}]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := readMessage(bytes.NewReader(b))
		if err != nil {
			return
		}
		l := newLog(1, &memory{})
		if _, err := l.Merge(in.Batch); err != nil {
			return
		}
		if n := len(l.Missing(l.Vector())); n != 0 {
			t.Errorf("a log lacks %d stretches of its own", n)
		}
		in.Vector.Digest()
	})
}
