//go:build unix

package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"bramble/cluster"
	"bramble/cluster/link"
	"bramble/cluster/purge"
	"bramble/node/console"
	"bramble/node/orders/draw"
)

// liar is a board in strange hands: it has the rack's key and most of the ring, and answers each board that asks it
// for a page with a forged one.
type liar struct {
	name    string
	members *cluster.Members
	link    *link.Link
	purges  *purge.Syncer

	mu    sync.Mutex // guards asked
	asked map[string]bool
}

const lie = "<h1>A forged page</h1>"

// Peers and KnownCount are the roster of the liar's exchange of purges.
func (l *liar) Peers() (peers []link.Peer) {
	for _, b := range l.members.Boards() {
		if b.Alive && !b.Self && b.Link != "" {
			peers = append(peers, link.Peer{Name: b.Name, Addr: b.Link})
		}
	}
	return peers
}

func (l *liar) KnownCount() int {
	_, known := l.members.Known()
	return known
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	about := r.URL.Query().Get("url")
	l.mu.Lock()
	l.asked[about] = true
	l.mu.Unlock()
	w.Header().Set("Cache-Control", "public, max-age=600")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	io.WriteString(w, lie)
}

// chooseName returns the name of a board which the ring makes the owner of all these keys.
func (r *rack) chooseName(keys []string) string {
	members := []cluster.RingMember{{Weight: cluster.MaxWeight}}
	for _, b := range r.boards {
		members = append(members, cluster.RingMember{Name: b.name, Weight: cluster.OrdinaryWeight})
	}
	for n := 0; ; n++ {
		members[0].Name = fmt.Sprintf("liar-%d", n)
		ring := cluster.NewRing(members)
		if !slices.ContainsFunc(keys, func(key string) bool { first, _ := ring.Owners(key); return first != members[0].Name }) {
			return members[0].Name
		}
	}
}

// joinLiar adds a liar that owns these keys to a rack that runs, and waits until all boards think that it serves.
func (r *rack) joinLiar(owned []string) *liar {
	t := r.t
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	rackKeys := [][]byte{r.key.Bytes()}
	l := &liar{name: r.chooseName(owned), asked: map[string]bool{}}
	var err error
	if l.link, err = link.New(link.Config{Name: l.name, Keys: rackKeys, Listen: "127.0.0.1:0", PeerTimeout: patience, Logger: quiet}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { stop(); l.link.Close(); running.Wait() })
	var join []string
	for i := range r.size {
		join = append(join, r.addr(i, 2))
	}
	port := l.link.Addr().(*net.TCPAddr).Port
	l.members, err = cluster.Start(ctx, cluster.MembersConfig{
		Name: l.name, Bind: "127.0.0.1:0", Keys: rackKeys, Join: join, Logger: quiet,
		Meta: cluster.Meta{Weight: cluster.MaxWeight, LinkPort: uint16(port), Version: "test", Vitals: cluster.Vitals{State: cluster.Serving}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.members.Close() })
	timing := purge.DefaultTiming()
	timing.ExchangeTimeout = patience
	l.purges = purge.NewSyncer(purge.NewLog(nil), l.link, l, timing, quiet)
	mux := http.NewServeMux()
	mux.Handle("POST "+purge.SyncPath, l.purges)
	mux.Handle("/v1/object", l)
	mux.Handle("/v1/origin", l)
	running.Go(func() { _ = l.link.Serve(ctx, mux) })
	running.Go(func() { l.purges.Run(ctx) })
	for _, b := range r.boards {
		b.waitFor("the liar in service", func(s console.RackView) bool { return stateOf(s, l.name) == "serving" })
	}
	eventually(t, "the liar to know all boards", func() (bool, string) {
		l.link.SetPeers(l.Peers())
		return len(l.Peers()) == r.size, fmt.Sprint(l.members.Boards())
	})
	return l
}

// sendReplica sends a board a forged page to store. It returns the status and the text of the reply.
func (l *liar) sendReplica(t *testing.T, board, key, wire string) (status int, text string) {
	t.Helper()
	query := url.Values{"key": {key}, "purges": {strconv.FormatUint(l.purges.Digest(), 16)}}
	r, err := http.NewRequest(http.MethodPut, "https://board/v1/object?"+query.Encode(), strings.NewReader(wire))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := l.link.Do(t.Context(), board, r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// forgeReplica returns a forged page of a key in the form in which boards send pages to each other.
func forgeReplica(key string) string {
	var wire []byte
	text := func(s string) { wire = append(appendNumber(wire, len(s)), s...) }
	wire = append(wire, 2) // the version of the form
	for _, n := range []int{http.StatusOK, 0, 0, 600_000, 0, 0} {
		wire = appendNumber(wire, n)
	}
	text(key)
	text("Cache-Control: public, max-age=600\r\nContent-Type: text/html\r\n")
	text("")
	text("")
	text(lie)
	return string(wire)
}

func appendNumber(b []byte, n int) []byte {
	for ; n > 0x7f; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// TestALyingBoardForgesNoPageOfTrust: a board in strange hands, which owns most of the ring of a running rack, makes
// no other board show a false draw, verifier, form or receipt; a product's page it does. So buyers who compare
// two boards see the lie of one.
func TestALyingBoardForgesNoPageOfTrust(t *testing.T) {
	runBeside(t)
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	r, secure := secureRack(t, 3, withShop(t, 2, fmt.Sprintf("mode = \"ballot\"\nopens = %s\ncloses = %s\ndraw = \"dice\"",
		at(time.Now().Add(-time.Hour)), at(time.Now().Add(time.Hour)))))
	r.startAll()
	for _, b := range r.boards {
		b.waitOrders()
	}
	http2 := client()
	http2.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	if resp, err := http2.Get("https://" + secure[0] + "/"); err != nil || resp.ProtoMajor != 2 || resp.Body.Close() != nil {
		t.Fatalf("not HTTP/2: %v, %v", resp, err)
	}
	receipt := r.boards[0].mustOrder("ada", "berry")
	own := []string{
		"/p/berry/draw", "/p/berry/draw.json", "/p/berry/verify", berryOrder, berryOrder + "?country=GB", "/status", "/status.json", receipt,
		"/p/berry/draw/", "/p/berry/draw?x", "/p/berry/%64raw", "/p/berry//draw", "/p/BERRY/draw", "/none",
	}
	const shared = "http://shop.bramble/p/berry"
	l := r.joinLiar([]string{shared, "http://shop.bramble/p/berry/draw", "http://shop.bramble/p/berry/draw.json", "http://shop.bramble/p/berry/verify", "http://shop.bramble" + berryOrder})
	for _, b := range r.boards {
		for _, path := range own {
			key := "http://shop.bramble" + path
			eventually(t, b.name+" to refuse a replica of "+path, func() (bool, string) {
				status, why := l.sendReplica(t, b.name, key, forgeReplica(key))
				return status == http.StatusConflict && strings.Contains(why, "each board makes this page itself"), fmt.Sprint(status, why)
			})
		}
		eventually(t, b.name+" to store a replica of a shared page", func() (bool, string) {
			status, why := l.sendReplica(t, b.name, shared, forgeReplica(shared))
			return status == http.StatusNoContent || strings.Contains(why, "younger"), fmt.Sprint(status, why)
		})
	}
	lists := map[string]bool{}
	for i, b := range r.boards {
		for round := range 4 { // from memory too
			for _, path := range own {
				got := b.get(path)
				if round%2 == 1 {
					var err error
					if got, err = fetch(http2, "https://"+secure[i]+path); err != nil {
						t.Fatal(err)
					}
				}
				if strings.Contains(got.body, lie) {
					t.Errorf("%s shows a forged %s", b.name, path)
				}
				if status := strings.Join(got.header["Cache-Status"], ", "); strings.Contains(status, ",") || status != "" && !strings.HasPrefix(status, b.name+";") {
					t.Errorf("%s%s: another board took part: %s", b.name, path, status)
				}
			}
		}
		var file draw.File
		if page := b.get("/p/berry/draw.json"); json.Unmarshal([]byte(page.body), &file) != nil || file.Product != "berry" {
			t.Errorf("%s: draw.json: %d %s", b.name, page.status, page.body)
		}
		lists[file.PromiseHash()] = true
		eventually(t, b.name+" to show the liar's page of the product, as a shared one", func() (bool, string) {
			got := b.get("/p/berry")
			return strings.Contains(got.body, lie), fmt.Sprint(got.header)
		})
	}
	if len(lists) != 1 {
		t.Errorf("the boards show %d promises", len(lists))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for about := range l.asked {
		if u, err := url.Parse(about); err != nil || !slices.Contains([]string{"/", "/p/berry"}, u.Path) && !strings.HasPrefix(u.Path, "/pictures/") {
			t.Errorf("a board asked the liar for %s", about)
		}
	}
}
