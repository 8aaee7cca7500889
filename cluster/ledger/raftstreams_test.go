package ledger

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"
)

func TestAHistoryIncludesTheStartsThatWereSeen(t *testing.T) {
	history := func(numbers ...uint32) (s startHistory) {
		for _, n := range numbers {
			s = s.addStart(n)
		}
		return s
	}
	long := history()
	for n := range uint32(3 * maxRecentStarts) {
		long = long.addStart(n + 1)
	}
	if len(long.Recent) != maxRecentStarts || long.newest() != (knownStart{Count: 3 * maxRecentStarts, Number: 3 * maxRecentStarts}) {
		t.Errorf("%+v", long)
	}
	for _, c := range []struct {
		name string
		s    startHistory
		seen knownStart
		want bool
	}{
		{"nothing was seen", history(7), knownStart{}, true},
		{"the same start", history(7), knownStart{1, 7, "b"}, true},
		{"a later start", history(7, 8, 9), knownStart{1, 7, "b"}, true},
		{"an older copy has fewer starts", history(7), knownStart{2, 8, "b"}, false},
		{"an older copy that was started again", history(7, 9), knownStart{2, 8, "b"}, false},
		{"the other of two copies went on", history(7, 9, 10), knownStart{2, 8, "b"}, false},
		{"a start that is too long ago counts", long, knownStart{1, 99, "b"}, true},
		{"one that is not is compared", long, knownStart{3*maxRecentStarts - 1, 99, "b"}, false},
	} {
		if got := c.s.includes(c.seen); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// storeAndStarts returns an empty state file, and a server's histories after its first and its second start.
func storeAndStarts(t *testing.T) (store *stableStore, first, second startHistory) {
	t.Helper()
	store, err := openStableStore(filepath.Join(t.TempDir(), "state"), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.close() })
	first = startHistory{}.addStart(1)
	return store, first, first.addStart(2)
}

// Messages of one start come in any order; entries are compared with those of the start
// before.
func TestAServerThatForgotIsNoticed(t *testing.T) {
	store, first, second := storeAndStarts(t)
	b := raftServer{"b.1", "b"}
	k, err := readKnownServers(store)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		p    lifeProof
		want error
	}{
		{lifeProof{first, 10, 13}, nil},
		{lifeProof{first, 8, 9}, nil}, // late
		{lifeProof{first, 12, 13}, nil},
		{lifeProof{second, 0, 0}, nil}, // its raft does not run yet
		{lifeProof{second, 0, 12}, errRolledBack},
		{lifeProof{second, 0, 13}, nil},
		{lifeProof{first, 12, 13}, errRolledBack},
		{lifeProof{}, nil}, // a program without histories
	} {
		if got := k.note(b, c.p); !errors.Is(got, c.want) {
			t.Errorf("%d: %v, want %v", i, got, c.want)
		}
	}
	again, err := readKnownServers(store)
	if err != nil || again.starts["b.1"] != (knownStart{2, 2, b.Name}) {
		t.Errorf("after a restart: %+v, %v", again, err)
	}
}

// A server has the name of its newest start, also after a restart of the board that knows it, whatever
// comes late.
func TestTheNewestNameStays(t *testing.T) {
	store, first, second := storeAndStarts(t)
	if err := store.putJSON(keyStarts, map[string]map[string]int{"b.1": {"Count": 1, "Number": 1}}); err != nil { // of an older program
		t.Fatal(err)
	}
	for i, c := range []struct {
		name         string
		p            lifeProof
		want, onDisk string
	}{
		{"b", lifeProof{first, 10, 13}, "b", "b"},
		{"x", lifeProof{second, 0, 0}, "x", "b"}, // its raft does not run yet
		{"b", lifeProof{first, 12, 13}, "b", "b"},
		{"x", lifeProof{second, 0, 14}, "x", "x"},
		{"b", lifeProof{first, 12, 14}, "x", "x"},
		{"b", lifeProof{}, "x", "x"},
	} {
		k, err := readKnownServers(store)
		if err != nil {
			t.Fatal(err)
		}
		k.note(raftServer{"b.1", c.name}, c.p)
		k.note(raftServer{"b.1", "late"}, lifeProof{}) // without a start it cannot be compared
		again, err := readKnownServers(store)
		if got, onDisk := k.nameOf("b.1"), again.nameOf("b.1"); err != nil || got != c.want || onDisk != c.onDisk {
			t.Errorf("%d: %q, on disk %q, %v; want %q, %q", i, got, onDisk, err, c.want, c.onDisk)
		}
	}
	k, err := readKnownServers(store)
	if err != nil {
		t.Fatal(err)
	}
	third := second.addStart(3)
	k.note(raftServer{"b.1", "y"}, lifeProof{third, 0, 0})
	if k.note(raftServer{"b.1", "x"}, lifeProof{second, 0, 14}); k.nameOf("b.1") != "y" {
		t.Errorf("a late message made it %q", k.nameOf("b.1"))
	}
}

// A board gives its files up only if a sound board of its ledger has what they prove.
func TestWhoCountsAsAHolder(t *testing.T) {
	holder := helloResponse{Server: raftServer{"b.1", "b"}, Ledger: 7, RolledBack: true, HasProven: true}
	for _, c := range []struct {
		name    string
		change  func(*helloResponse)
		isOlder bool
		want    judgement
	}{
		{"sound", func(*helloResponse) {}, false, judgement{isAccused: true, isHeld: true}},
		{"accused itself", func(h *helloResponse) { h.Accused = true }, false, judgement{isAccused: true}},
		{"older than this board has seen", func(*helloResponse) {}, true, judgement{isAccused: true}},
		{"lacks it", func(h *helloResponse) { h.HasProven = false }, false, judgement{isAccused: true}},
		{"leads and lacks it", func(h *helloResponse) { h.HasProven, h.Leading = false, true }, false, judgement{isAccused: true, leaderLacks: true}},
		{"took its word back", func(h *helloResponse) { h.RolledBack = false }, false, judgement{isOver: true, isHeld: true}},
		{"of another ledger now", func(h *helloResponse) { h.Ledger = 8 }, false, judgement{isOver: true}},
	} {
		hello := holder
		c.change(&hello)
		if got := judgeLife(7, "b", []helloResponse{hello}, func(helloResponse) bool { return c.isOlder }); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func FuzzHandshake(f *testing.F) {
	var seed bytes.Buffer
	if err := writeHandshake(&seed, streamHandshake{Ledger: 7, Server: raftServer{"b.1", "b"}, Wanted: "c.1"}); err != nil {
		f.Fatal(err)
	}
	f.Add(seed.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		var h streamHandshake
		if readHandshake(bytes.NewReader(b), &h) != nil {
			return
		}
		var again bytes.Buffer
		if err := writeHandshake(&again, h); err != nil {
			return // the names in it are longer in JSON than they were
		}
		var second streamHandshake
		if err := readHandshake(&again, &second); err != nil || second.Wanted != h.Wanted || second.Ledger != h.Ledger {
			t.Errorf("%+v, then %+v, %v", h, second, err)
		}
	})
}
