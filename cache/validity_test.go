package cache

import (
	"math/rand/v2"
	"testing"
	"time"
)

// memoBench is a bench with one page, whose clock stands at the time when the page was made.
func memoBench(t *testing.T, fields ...string) *bench {
	b := newBench(t, always(200, "page", append([]string{"Date: Wed, 29 Feb 2012 06:00:00 GMT", "Content-Type: text/html", `Etag: "a"`}, fields...)...))
	b.get()
	return b
}

// While StillValid returns true, the same request gets the same bytes; and it does so for
// most of each second.
func TestStillValidMeansTheSameAnswer(t *testing.T) {
	for _, fields := range [][]string{
		{"Cache-Control: max-age=10"},
		{"Cache-Control: max-age=3", "Age: 2"},
		{"Last-Modified: Wed, 29 Feb 2012 05:59:13 GMT"}, // fresh for 4.7 s
	} {
		b := memoBench(t, fields...)
		q := hitRequestOf(request("GET", pageURL))
		start := b.Now()
		same, changed := 0, 0
		for range 3000 {
			var m HitValidity
			q.At = start + rand.N(12*time.Second)
			head, _, ok := b.AppendHit(nil, q, &m)
			later := *q
			later.At = start + rand.N(12*time.Second)
			again, _, still := b.AppendHit(nil, &later, nil)
			equal := ok && still && string(again) == string(head)
			switch got := b.StillValid(&m, later.At, 1); {
			case got && !equal:
				t.Fatalf("%v: at %v it said %q, and still at %v, when it is %q, %v", fields, q.At-start, head, later.At-start, again, still)
			case got:
				same++
			case equal && later.At >= q.At:
				t.Fatalf("%v: at %v it said %q, and not again at %v", fields, q.At-start, head, later.At-start)
			default:
				changed++
			}
		}
		if same == 0 || changed == 0 {
			t.Errorf("%v: %d times the same, %d times not", fields, same, changed)
		}
	}
}

func TestStillValidEndsWithThePage(t *testing.T) {
	for name, change := range map[string]func(*bench){
		"a purge":      func(b *bench) { b.Purge(Selector{URL: pageURL}) },
		"a soft purge": func(b *bench) { b.Purge(Selector{URL: pageURL, Soft: true}) },
		"a new page": func(b *bench) {
			b.Purge(Selector{URL: pageURL})
			b.get()
		},
	} {
		b := memoBench(t, "Cache-Control: max-age=100")
		var m HitValidity
		if b.StillValid(&m, b.Now(), 1) {
			t.Errorf("%s: an answer that nobody gave is given again", name)
		}
		q := hitRequestOf(request("GET", pageURL))
		if _, _, ok := b.AppendHit(nil, q, &m); !ok || !b.StillValid(&m, b.Now(), 1) {
			t.Fatalf("%s: no hit, or not again", name)
		}
		change(b)
		if b.StillValid(&m, b.Now(), 1) {
			t.Errorf("after %s the old answer is given again", name)
		}
	}
}

// A memoised answer counts as any other hit.
func TestStillValidCountsAndAllocatesNothing(t *testing.T) {
	b := memoBench(t, "Cache-Control: max-age=100")
	var m HitValidity
	q := hitRequestOf(request("GET", pageURL))
	room := make([]byte, 0, maxPrepared+64+len("bramble"))
	if _, _, ok := b.AppendHit(room, q, &m); !ok {
		t.Fatal("no hit")
	}
	before, now := b.Stats(), b.Now()
	if n := testing.AllocsPerRun(99, func() {
		if !b.StillValid(&m, now, 3) {
			t.Fatal("not again")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if after := b.Stats(); after.Hits != before.Hits+300 || after.Requests != before.Requests+300 {
		t.Errorf("counted %d hits and %d requests, want 300 each", after.Hits-before.Hits, after.Requests-before.Requests)
	}
}
