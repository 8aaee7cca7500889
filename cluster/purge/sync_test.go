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

// fakeRack joins syncers in one process; a fakePeer is the Roster and the Caller of one.
type fakeRack struct {
	mu      sync.Mutex // guards what follows
	syncers map[string]*Syncer
	cut     map[string]bool // unreachable in both directions
	slow    map[string]time.Duration
	sent    int // messages
	known   int
}

type fakePeer struct {
	rack *fakeRack
	name string
}

func (f fakePeer) Peers() []link.Peer {
	f.rack.mu.Lock()
	defer f.rack.mu.Unlock()
	var peers []link.Peer
	for name := range f.rack.syncers {
		if name != f.name {
			peers = append(peers, link.Peer{Name: name})
		}
	}
	return peers
}

func (f fakePeer) KnownCount() int { return f.rack.known }

func (f fakePeer) Control(ctx context.Context, board string, r *http.Request) (*http.Response, error) {
	f.rack.mu.Lock()
	to, cut := f.rack.syncers[board], f.rack.cut[board] || f.rack.cut[f.name]
	slow := f.rack.slow[board]
	f.rack.sent++
	f.rack.mu.Unlock()
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

// newFakeRack makes boards named a, b, c … and returns what they apply.
func newFakeRack(n int) (*fakeRack, []*Syncer, []*memory) {
	rack := &fakeRack{syncers: map[string]*Syncer{}, cut: map[string]bool{}, slow: map[string]time.Duration{}, known: n}
	var syncers []*Syncer
	var memories []*memory
	for i := range n {
		name := string(rune('a' + i))
		m := &memory{}
		peer := fakePeer{rack, name}
		p := NewSyncer(newLog(Issuer(i+1), m), peer, peer, DefaultTiming(), slog.New(slog.DiscardHandler))
		rack.syncers[name] = p
		syncers, memories = append(syncers, p), append(memories, m)
	}
	return rack, syncers, memories
}

// run runs all syncers and returns a function that stops them.
func run(syncers []*Syncer) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, p := range syncers {
		running.Go(func() { p.Run(ctx) })
	}
	return func() { cancel(); running.Wait() }
}

// purge does what the console does: issue here, then spread.
func purge(ctx context.Context, p *Syncer, what Purge) (applied, absent []string, err error) {
	if err := p.Issue(what); err != nil {
		return nil, nil, err
	}
	applied, absent = p.Spread(ctx, time.Second)
	return applied, absent, nil
}

func TestSpreadReachesLiveBoardsAtOnceAndOthersLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rack, syncers, memories := newFakeRack(3)
		rack.cutOff("c", true)
		stop := run(syncers)
		defer stop()
		applied, absent, err := purge(t.Context(), syncers[0], tag("x"))
		if err != nil || !slices.Equal(applied, []string{"b"}) || !slices.Equal(absent, []string{"c"}) {
			t.Errorf("Spread = %v, %v, %v; want b to have applied it and c absent", applied, absent, err)
		}
		if !slices.Equal(memories[1].applied, []string{"tag:x"}) || len(memories[2].applied) != 0 {
			t.Errorf("b applied %v and c %v", memories[1].applied, memories[2].applied)
		}
		rack.cutOff("c", false)
		time.Sleep(2 * DefaultTiming().Interval)
		synctest.Wait()
		if !slices.Equal(memories[2].applied, []string{"tag:x"}) {
			t.Errorf("an exchange after its return, c has applied %v", memories[2].applied)
		}
		for i, p := range syncers {
			if p.Digest() != syncers[0].Digest() {
				t.Errorf("board %d has a different digest", i)
			}
		}
	})
}

func TestCatchUpTakesAsManyBatchesAsNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, syncers, memories := newFakeRack(2)
		for n := range 3*maxBatch + 1 {
			issue(t, syncers[0].purges, tag(fmt.Sprint(n)))
		}
		if err := syncers[1].CatchUp(t.Context(), "a", syncers[0].Digest()); err != nil {
			t.Fatal(err)
		}
		if n := len(memories[1].applied); n != 3*maxBatch+1 {
			t.Errorf("b applied %d purges", n)
		}
	})
}

func TestLeaseNeedsAMajority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rack, syncers, _ := newFakeRack(5)
		stop := run(syncers)
		defer stop()
		wait := func() {
			time.Sleep(2 * DefaultTiming().Lease)
			synctest.Wait()
		}
		holders := func() (names string) {
			for i, p := range syncers {
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
			for i := range syncers {
				name := string(rune('a' + i))
				rack.cutOff(name, strings.Contains(step.cut, name))
			}
			wait()
			if got := holders(); got != step.want {
				t.Errorf("with %q cut off, boards %q hold a valid lease, want %q", step.cut, got, step.want)
			}
		}
	})
}

// A process that was stopped has no valid lease when it continues, until it has
// caught up with the others.
func TestStoppedBoardCatchesUpBeforeItsLeaseIsValid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rack, syncers, memories := newFakeRack(3)
		stop := run(syncers[:2]) // c does not run: it is stopped
		defer stop()
		stopped := syncers[2]
		if !stopped.RenewLease(t.Context()) {
			t.Fatal("c holds no valid lease although it has just renewed it")
		}
		rack.cutOff("c", true)
		if _, absent, err := purge(t.Context(), syncers[0], tag("x")); err != nil || !slices.Equal(absent, []string{"c"}) {
			t.Fatalf("absent %v, %v", absent, err)
		}
		time.Sleep(DefaultTiming().MaxPause)
		if stopped.LeaseValid() {
			t.Error("c holds a valid lease after a gap")
		}
		if stopped.RenewLease(t.Context()) {
			t.Error("c holds a valid lease although it could not learn what it missed")
		}
		rack.cutOff("c", false)
		if stopped.RenewLease(t.Context()) {
			t.Error("c retried at once after a failure: a cut-off board would delay every client")
		}
		time.Sleep(DefaultTiming().Interval)
		if !stopped.RenewLease(t.Context()) || !slices.Contains(memories[2].applied, "tag:x") {
			t.Errorf("c has applied %v", memories[2].applied)
		}
	})
}

// An exchange that began before a gap proves nothing about the time after it.
func TestContactBeforeAPauseDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, syncers, _ := newFakeRack(3)
		p := syncers[0]
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

func FuzzReadMessage(f *testing.F) {
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
		if err := l.Merge(in.Batch); err != nil {
			return
		}
		if n := len(l.Missing(l.Vector())); n != 0 {
			t.Errorf("a log lacks %d ranges of its own", n)
		}
		in.Vector.Digest()
	})
}
