package cache

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestWireKeepsAge: two boards whose clocks are years apart agree about an
// object's age.
func TestWireKeepsAge(t *testing.T) {
	one := newBench(t, always(200, "a page", "Cache-Control: max-age=60, stale-while-revalidate=5, stale-if-error=7", "Age: 10",
		"Vary: Accept-Language", "Cache-Tag: a, b", `Etag: "v1"`))
	one.get("Accept-Language: en")
	one.clock.add(20 * time.Second)
	two := newBench(t, always(500, "must not be asked"))
	two.clock.add(-40 * 365 * 24 * time.Hour)

	objects := one.Peek(pageURL)
	if len(objects) != 1 {
		t.Fatalf("%d objects", len(objects))
	}
	wire := one.AppendWire(nil, objects[0])
	o, err := ParseObject(wire)
	if err != nil {
		t.Fatal(err)
	}
	if again := one.AppendWire(nil, objects[0]); !bytes.Equal(again, wire) {
		t.Error("not stable")
	}
	if err := two.Insert(o, nil); err != nil {
		t.Fatal(err)
	}
	two.clock.add(time.Second)
	res := two.get("Accept-Language: en")
	two.want(res, 200, "a page", "hit; ttl=29")
	if res.Header().Get("Age") != "31" {
		t.Errorf("Age %q", res.Header().Get("Age"))
	}
	if two.PurgeTag("b") != 1 {
		t.Error("tags did not travel")
	}
}

func TestInsert(t *testing.T) {
	b := newBench(t, always(200, "x", "Cache-Control: max-age=60"))
	wire := func(age time.Duration, body string) *Object {
		o, err := ParseObject(b.AppendWire(nil, &Object{
			key: pageURL, status: 200, lifetime: time.Hour, born: b.clock0() - age, size: int64(len(body)),
			body: [][]byte{[]byte(body)}, tags: "pis\x00",
		}))
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	if err := b.Insert(wire(10*time.Second, "ten"), nil); err != nil {
		t.Error(err)
	}
	if err := b.Insert(wire(11*time.Second, "eleven"), nil); !errors.Is(err, ErrOlder) {
		t.Errorf("older: %v", err)
	}
	if err := b.Insert(wire(9*time.Second, "nine"), nil); err != nil {
		t.Error(err)
	}
	b.want(b.get(), 200, "nine", "hit")
	if err := b.Insert(wire(0, strings.Repeat("x", 64<<10+1)), nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("large: %v", err)
	}
	for name, purge := range map[string]func(){
		"url": func() { b.PurgeURL(pageURL) }, "tag": func() { b.PurgeTag("pis") }, "all": func() { b.PurgeAll() },
	} {
		g := b.NewGuard(pageURL)
		o := wire(0, "zero")
		purge()
		if err := b.Insert(o, g); !errors.Is(err, ErrPurged) {
			t.Errorf("purged by %s: %v", name, err)
		}
		g.Release()
	}
	g := b.NewGuard(pageURL)
	defer g.Release()
	b.PurgeURL("http://shop.example/other")
	b.PurgeTag("other")
	if err := b.Insert(wire(0, "zero"), g); err != nil {
		t.Error(err)
	}
}

func (b *bench) clock0() time.Duration { return b.Cache.Now() }

func TestPurge(t *testing.T) {
	fill := func() *bench {
		b := newBench(t, &fakeUpstream{answer: func(_ int64, r *http.Request) (*http.Response, error) {
			return reply(200, "x", "Cache-Control: max-age=60", "Vary: X-A", "Surrogate-Key: all "+r.URL.Path[1:], "Cache-Tag: tag with blanks, other"), nil
		}})
		for _, p := range []string{"a", "b"} {
			for _, v := range []string{"1", "2"} {
				b.do(request("GET", "http://shop.example/"+p, "X-A: "+v))
			}
		}
		return b
	}
	tests := []struct {
		name string
		n    int
		do   func(*Cache) int
	}{
		{"url", 2, func(c *Cache) int { return c.PurgeURL("http://shop.example/a") }},
		{"url with fragment", 2, func(c *Cache) int { return c.PurgeURL("http://shop.example/a#top") }},
		{"other query", 0, func(c *Cache) int { return c.PurgeURL("http://shop.example/a?") }},
		{"no url", 0, func(c *Cache) int { return c.PurgeURL("::") }},
		{"tag", 2, func(c *Cache) int { return c.PurgeTag("a") }},
		{"tag of all", 4, func(c *Cache) int { return c.PurgeTag("all") }},
		{"tag with blanks", 4, func(c *Cache) int { return c.PurgeTag("tag with blanks") }},
		{"part of a tag", 0, func(c *Cache) int { return c.PurgeTag("tag") }},
		{"empty tag", 0, func(c *Cache) int { return c.PurgeTag("") }},
		{"all", 4, func(c *Cache) int { return c.PurgeAll() }},
	}
	for _, tt := range tests {
		b := fill()
		if n := tt.do(b.Cache); n != tt.n {
			t.Errorf("%s: dropped %d, want %d", tt.name, n, tt.n)
		}
		if n := tt.do(b.Cache); n != 0 {
			t.Errorf("%s again: dropped %d", tt.name, n)
		}
		left := 0
		for key := range b.Keys {
			left += len(b.Peek(key))
		}
		if left != 4-tt.n {
			t.Errorf("%s: %d left", tt.name, left)
		}
	}
}
