package cluster

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rack returns n ordinary boards.
func rack(n int) []RingMember {
	members := make([]RingMember, n)
	for i := range members {
		members[i] = RingMember{Name: fmt.Sprintf("board-%d", i+1), Weight: OrdinaryWeight}
	}
	return members
}

func keys(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = "/product/" + strconv.Itoa(i)
	}
	return list
}

// clockHash hashes points and keys to the hours of a clock with 100 hours: "a#0" by the table, and a key
// that is a number at that hour.
func clockHash(table map[string]float64) func(string) uint64 {
	return func(s string) uint64 {
		hour, ok := table[s]
		if !ok {
			hour, _ = strconv.ParseFloat(s, 64)
		}
		return uint64(hour / 100 * (1 << 64))
	}
}

func clockRing(weights ...int) *Ring {
	members := []RingMember{{"a", weights[0]}, {"b", weights[1]}, {"c", weights[2]}}
	return buildRing(members, 2, clockHash(map[string]float64{
		"a#0": 10, "a#1": 50, "b#0": 20, "b#1": 30, "c#0": 70, "c#1": 90,
	}))
}

func TestRingOwnersOnAClock(t *testing.T) {
	// The circle: a10 b20 b30 a50 c70 c90.
	r := clockRing(100, 100, 100)
	for _, c := range []struct{ key, first, second string }{
		{"0", "a", "b"}, {"5", "a", "b"}, {"10", "a", "b"},
		{"11", "b", "a"}, {"20", "b", "a"}, {"25", "b", "a"},
		{"31", "a", "c"}, {"50", "a", "c"},
		{"51", "c", "a"}, {"75", "c", "a"},
		{"95", "a", "b"}, // over the top
	} {
		first, second := r.Owners(c.key)
		if first != c.first || second != c.second {
			t.Errorf("Owners(%s) = %s, %s; want %s, %s", c.key, first, second, c.first, c.second)
		}
	}

	want := []Arc{{0, .1, "a"}, {.1, .3, "b"}, {.3, .5, "a"}, {.5, .9, "c"}, {.9, 1, "a"}}
	got := r.Arcs()
	same := slices.EqualFunc(got, want, func(a, b Arc) bool {
		return a.Board == b.Board && math.Abs(a.From-b.From) < 1e-9 && math.Abs(a.To-b.To) < 1e-9
	})
	if !same {
		t.Errorf("Arcs() = %v; want %v", got, want)
	}
	for board, want := range map[string]float64{"a": .4, "b": .2, "c": .4} {
		if got := r.Shares()[board]; math.Abs(got-want) > 1e-9 {
			t.Errorf("share of %s is %v, want %v", board, got, want)
		}
	}
}

func TestRingDrainingBoardOwnsNothing(t *testing.T) {
	r := clockRing(100, 0, 100)
	if first, second := r.Owners("15"); first != "a" || second != "c" {
		t.Errorf("Owners(15) = %s, %s; want a, c", first, second)
	}
	if r.Len() != 2 || len(r.members) != 3 {
		t.Errorf("Len() = %d with %d members, want 2 with 3", r.Len(), len(r.members))
	}
	if share, listed := r.Shares()["b"]; share != 0 || !listed {
		t.Errorf("share of the draining board: %v, listed %v; want 0, true", share, listed)
	}
}

func TestRingSmall(t *testing.T) {
	for _, c := range []struct {
		name          string
		members       []RingMember
		first, second string
	}{
		{"nobody", nil, "", ""},
		{"only a draining board", []RingMember{{"a", 0}}, "", ""},
		{"one board", []RingMember{{"a", 100}}, "a", ""},
		{"one board twice", []RingMember{{"a", 100}, {"a", 0}}, "a", ""},
		{"one board and a draining one", []RingMember{{"a", 1}, {"b", 0}}, "a", ""},
		{"less than nothing", []RingMember{{"a", 100}, {"b", -5}}, "a", ""},
	} {
		r := NewRing(c.members)
		first, second := r.Owners("/")
		if first != c.first || second != c.second {
			t.Errorf("%s: Owners = %q, %q; want %q, %q", c.name, first, second, c.first, c.second)
		}
		if got := r.Pick("/", func(string) int { return 1000 }); got != c.first {
			t.Errorf("%s: Pick = %q, want %q", c.name, got, c.first)
		}
		if arcs := r.Arcs(); (len(arcs) == 0) != (c.first == "") {
			t.Errorf("%s: Arcs = %v", c.name, arcs)
		}
	}
}

func TestRingIsTheSameInAnyOrder(t *testing.T) {
	members := append(rack(9), RingMember{"drained", 0}, RingMember{"big", 300})
	want := NewRing(members)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		rng.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		got := NewRing(members)
		if !slices.Equal(got.Arcs(), want.Arcs()) || !slices.Equal(got.second, want.second) {
			t.Fatalf("a different ring from the order %v", members)
		}
	}
}

// Two boards whose points all collide must still be ordered in the same way.
func TestRingCollidingPoints(t *testing.T) {
	same := func(s string) uint64 { return uint64(len(s)) << 60 }
	a := buildRing([]RingMember{{"x", 100}, {"y", 100}}, PointsPerBoard, same)
	b := buildRing([]RingMember{{"y", 100}, {"x", 100}}, PointsPerBoard, same)
	for _, key := range []string{"", "1", "22", "333", "a long key"} {
		a1, a2 := a.Owners(key)
		b1, b2 := b.Owners(key)
		if a1 != b1 || a2 != b2 || a1 == a2 || a2 == "" {
			t.Errorf("Owners(%q): %s, %s and %s, %s", key, a1, a2, b1, b2)
		}
	}
}

// TestRingGolden pins the ring that boards of different builds must agree on: a change here splits
// racks that are half updated.
func TestRingGolden(t *testing.T) {
	r := NewRing(rack(5))
	var got strings.Builder
	for _, key := range []string{"/", "/product/raspberry-pi-model-b", "/status", "/order"} {
		first, second := r.Owners(key)
		fmt.Fprintf(&got, "%s %s %s\n", key, first, second)
	}
	want := `/ board-1 board-2
/product/raspberry-pi-model-b board-1 board-5
/status board-5 board-4
/order board-1 board-4
`
	if got.String() != want {
		t.Errorf("the ring has changed:\n%s\nwant:\n%s", got.String(), want)
	}
}

// largestRack bounds the racks of the slow tests.
func largestRack() int {
	if testing.Short() {
		return 24
	}
	return 64
}

func TestRingSpread(t *testing.T) {
	for scheme, name := range map[string]func(i int) string{
		"board-1":     func(i int) string { return fmt.Sprintf("board-%d", i+1) },
		"pi01":        func(i int) string { return fmt.Sprintf("pi%02d", i+1) },
		"b827eb00000": func(i int) string { return fmt.Sprintf("b827eb%06x", 0x4d12f1*i&0xffffff) },
	} {
		worst, at := 0.0, 0
		for n := 2; n <= largestRack(); n++ {
			members := rack(n)
			for i := range members {
				members[i].Name = name(i)
			}
			most := slices.Max(slices.Collect(maps.Values(NewRing(members).Shares())))
			if spread := most * float64(n); spread > worst {
				worst, at = spread, n
			}
		}
		t.Logf("names like %s, racks of 2 to %d: max/mean of the shares at most %.3f (at %d boards)", scheme, largestRack(), worst, at)
		if worst > 1.25 {
			t.Errorf("names like %s: a board of a rack of %d owns %.3f times the mean, want at most 1.25", scheme, at, worst)
		}
	}
}

func TestRingMovesOnlyWhatItMust(t *testing.T) {
	all := keys(20000)
	worst := 0.0
	for n := 2; n <= largestRack(); n++ {
		before, after := NewRing(rack(n-1)), NewRing(rack(n))
		added := fmt.Sprintf("board-%d", n)
		moved := 0
		for _, key := range all {
			old, oldSecond := before.Owners(key)
			now, nowSecond := after.Owners(key)
			if old == now {
				continue
			}
			moved++
			if now != added {
				t.Fatalf("%d boards: adding %s moved %s from %s to %s", n, added, key, old, now)
			}
			// In reverse, when the added board is lost, the second owner takes over.
			if nowSecond != old {
				t.Fatalf("%d boards: the replica of %s is on %s, but without %s it belongs to %s (%s)",
					n, key, nowSecond, added, old, oldSecond)
			}
		}
		part := float64(moved) / float64(len(all)) * float64(n)
		worst = max(worst, part)
		if part > 1.3 {
			t.Errorf("adding one to make %d boards moved %.3f/N of the keys, want at most 1.3/N", n, part)
		}
	}
	t.Logf("keys moved when one board is added or removed, racks of 2 to %d: at most %.3f/N", largestRack(), worst)
}

func TestRingHonoursWeights(t *testing.T) {
	members := append(rack(8), RingMember{"twice", 200}, RingMember{"half", 50})
	r := NewRing(members)
	mean := 0.0
	for _, m := range rack(8) {
		mean += r.Shares()[m.Name] / 8
	}
	for name, want := range map[string]float64{"twice": 2, "half": .5} {
		if got := r.Shares()[name] / mean; math.Abs(got-want) > want*0.25 {
			t.Errorf("%s owns %.2f times as much as an ordinary board, want %.2f", name, got, want)
		}
	}
}

func TestPickOnAClock(t *testing.T) {
	// Key 15 goes b (20), then a (50), then c (70).
	for _, c := range []struct {
		name       string
		weights    [3]int
		load       map[string]int
		wantBoards string
	}{
		{"idle", [3]int{100, 100, 100}, map[string]int{}, "b"},
		{"under the floor nothing spills", [3]int{100, 100, 100}, map[string]int{"b": LoadFloor - 1}, "b"},
		{"all busy alike", [3]int{100, 100, 100}, map[string]int{"a": 100, "b": 100, "c": 100}, "b"},
		{"owner a quarter above: ceil(1.25*301/3)=126", [3]int{100, 100, 100}, map[string]int{"a": 100, "b": 125, "c": 75}, "b"},
		{"owner above its bound", [3]int{100, 100, 100}, map[string]int{"a": 100, "b": 126, "c": 74}, "a"},
		{"two above", [3]int{100, 100, 100}, map[string]int{"a": 150, "b": 150, "c": 0}, "c"},
		{"a strong owner may have more", [3]int{100, 200, 100}, map[string]int{"a": 60, "b": 150, "c": 90}, "b"},
		{"a weak owner less", [3]int{100, 50, 100}, map[string]int{"a": 60, "b": 100, "c": 90}, "a"},
		{"a draining board does not count", [3]int{0, 100, 100}, map[string]int{"a": 1000, "b": 30, "c": 0}, "c"},
		{"a load below zero is none", [3]int{100, 100, 100}, map[string]int{"a": -5, "b": 9, "c": -9}, "a"},
	} {
		r := clockRing(c.weights[:]...)
		if got := r.Pick("15", func(b string) int { return c.load[b] }); got != c.wantBoards {
			t.Errorf("%s: Pick = %s, want %s", c.name, got, c.wantBoards)
		}
	}
}

// A hot key alone must not load any board above its bound.
func TestPickBoundsAHotKey(t *testing.T) {
	r := NewRing(rack(7))
	load := map[string]int{}
	const requests = 5000
	for range requests {
		load[r.Pick("/hot", func(b string) int { return load[b] })]++
	}
	bound := int(math.Ceil(float64(LoadBound) / 100 * requests / 7))
	for board, n := range load {
		if n > bound {
			t.Errorf("%s got %d of %d requests, want at most %d", board, n, requests, bound)
		}
	}
	if owner, _ := r.Owners("/hot"); load[owner] < requests/7 {
		t.Errorf("the owner got only %d of %d requests", load[owner], requests)
	}
}

func TestLoadCapacityDoesNotOverflow(t *testing.T) {
	for _, c := range []struct{ total, weight, all, want int64 }{
		{0, 100, 100, 2}, // ceil(1.25)
		{299, 100, 300, 125},
		{300, 100, 300, 126},
		{math.MaxInt64 - 1, MaxWeight, 1, math.MaxInt64},
	} {
		if got := loadCapacity(c.total, c.weight, c.all); got != c.want {
			t.Errorf("loadCapacity(%d, %d, %d) = %d, want %d", c.total, c.weight, c.all, got, c.want)
		}
	}
}

func TestOwnersAllocatesNothing(t *testing.T) {
	r := NewRing(rack(64))
	load := func(string) int { return 20 }
	if n := testing.AllocsPerRun(100, func() { r.Owners("/product/1"); r.Pick("/product/1", load) }); n != 0 {
		t.Errorf("Owners and Pick allocate %v times", n)
	}
}

func BenchmarkOwners(b *testing.B) {
	for _, n := range []int{5, 64} {
		b.Run(fmt.Sprintf("boards=%d", n), func(b *testing.B) {
			r := NewRing(rack(n))
			list := keys(1024)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				r.Owners(list[i%len(list)])
				i++
			}
		})
	}
}

func BenchmarkNewRing(b *testing.B) {
	for _, n := range []int{5, 64} {
		b.Run(fmt.Sprintf("boards=%d", n), func(b *testing.B) {
			members := rack(n)
			b.ReportAllocs()
			for b.Loop() {
				NewRing(members)
			}
		})
	}
}
