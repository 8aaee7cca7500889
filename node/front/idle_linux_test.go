package front

import (
	"io"
	"runtime"
	"runtime/metrics"
	"testing"

	"bramble/node/front/http1/http1test"
)

const (
	// idleMost limits what an idle connection takes of this process's heap and stacks, in
	// bytes. The client's end is in this process too, and takes about 900.
	idleMost = 500 + 900
	// idleGrowth limits what stacks grow by when it has answered, in bytes: it has none, but
	// the program's other goroutines come and go.
	idleGrowth = 256
)

// An idle connection is a small struct, also after replies.
func TestAnIdleConnectionTakesLittle(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("opens some hundred connections, and the race detector takes memory of its own")
	}
	const many = 500
	f, _, _ := startFront(t, newTestSite(t), func(cfg *Config) { cfg.MaxConnections = many + 10 })
	warm := dialFront(t, f)
	warm.send(http1test.Browsers()["chrome"])
	warm.reply()

	empty := inUse()
	clients := make([]*testClient, many)
	for i := range clients {
		clients[i] = dialFront(t, f)
		clients[i].r = nil // its buffer is not measured
	}
	until(t, "all are in", func() bool { return f.Counts().Open == many+1 })
	before := stacks()
	room := make([]byte, 8<<10)
	for _, name := range []string{"chrome", "chrome-reload", "wrk", "proxy"} {
		request := []byte(http1test.Browsers()[name])
		for _, v := range clients {
			if _, err := v.Write(request); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAtLeast(v, room, 100); err != nil {
				t.Fatal(err)
			}
		}
	}
	grown := (stacks() - before) / many
	each := (inUse() - empty) / many
	t.Logf("%d bytes per connection and its client, of which %d were added to stacks by answering", each, grown)
	if grown > idleGrowth {
		t.Errorf("stacks grew by %d bytes per connection: a goroutine waits for it", grown)
	}
	if each > idleMost {
		t.Errorf("an idle connection takes %d bytes, more than %d", each, idleMost)
	}
	runtime.KeepAlive(clients)
}

// stacks returns the bytes of all stacks.
func stacks() int64 {
	runtime.GC()
	samples := []metrics.Sample{{Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64())
}
