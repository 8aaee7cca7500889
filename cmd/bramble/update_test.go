package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bramble/images/cardinit"
	"bramble/images/release"
	"bramble/node"
	"bramble/node/config"
	"bramble/node/console/client"
	"bramble/node/sockets/socketstest"
)

// cardRack is a rack of boards in this process. Each has a folder for a card,
// and the test starts the other slot in place of the firmware.
type cardRack struct {
	t      *testing.T
	boards []*testCard
	signer []byte // the private update key
	stop   context.CancelFunc
	ended  sync.WaitGroup
}

type testCard struct {
	cfg     *config.Config
	paths   cardinit.Paths
	console string
	access  client.Access
	starts  atomic.Int64
	refuses atomic.Bool // the other slot does not start
}

// cardMachine only counts on the folder being one.
type cardMachine struct{ cardinit.System }

func (cardMachine) Remount(string, bool) error { return nil }
func (cardMachine) Sync()                      {}

func (cardMachine) FreeSpace(string) (free, piece int64, err error) { return 1 << 30, 512, nil }

const cardPassword = "tell me more"

func slotFiles(version string) map[string][]byte {
	return map[string][]byte{
		cardinit.KernelFile: []byte("kernel"), cardinit.InitrdFile: []byte(strings.Repeat(version, 200_000)),
		cardinit.CmdlineFile: []byte("panic=10 bramble.slot=a\n"), cardinit.VersionFile: []byte(version + "\n"),
	}
}

// signedFiles returns a signed slot; v2 was released a day after v1. Without a key it is not signed.
func signedFiles(t *testing.T, version string, private []byte) map[string][]byte {
	t.Helper()
	files := slotFiles(version)
	if private == nil {
		return files
	}
	r, err := release.New(files)
	if err != nil {
		t.Fatal(err)
	}
	s := r.Statement(time.Date(2026, 11, int(version[1]-'0'), 0, 0, 0, 0, time.UTC))
	signed, err := s.Sign(private)
	if err != nil {
		t.Fatal(err)
	}
	files[cardinit.SignatureFile] = []byte(signed)
	return files
}

// testAddresses returns the addresses of n free ports, which are the test's until it ends.
func testAddresses(t *testing.T, n int) (list []string) {
	t.Helper()
	first := socketstest.FreePorts(t, n)
	for i := range n {
		list = append(list, fmt.Sprintf("127.0.0.1:%d", first+i))
	}
	return list
}

func startCardRack(t *testing.T, size int) *cardRack {
	t.Helper()
	r := &cardRack{t: t}
	key, ports := config.NewRackKey(), testAddresses(t, 4*size)
	private, public := cardinit.NewUpdateKey()
	r.signer = private
	known, err := poolOf([]config.RackKey{key})
	if err != nil {
		t.Fatal(err)
	}
	access := client.Access{Secret: cardPassword, Rack: known}
	var join []string
	for i := range size {
		join = append(join, fmt.Sprintf("%q", ports[4*i+2]))
	}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	for i := range size {
		dir := t.TempDir()
		text := fmt.Sprintf("[board]\nname = \"card-%d\"\n[http]\nlisten = %q\n[console]\nlisten = %q\npassword = %q\n[rack]\nkey = %q\ngossip_listen = %q\nlink_listen = %q\nmdns = false\nexpected_boards = %d\njoin = [%s]\n[cache]\nmemory = \"4MB\"\n[update]\nkeys = [%q]\n[panel]\nkernel_led = \"none\"\n",
			i, ports[4*i], strings.TrimPrefix(ports[4*i+1], "127.0.0.1"), cardPassword, key.Reveal(), ports[4*i+2], ports[4*i+3], size, strings.Join(join, ", "), public)
		cfg, err := config.Parse(filepath.Join(dir, "bramble.toml"), []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		c := &testCard{cfg: cfg, console: "https://" + ports[4*i+1], access: access, paths: cardinit.Paths{
			Boot: filepath.Join(dir, "boot"), Proc: filepath.Join(dir, "proc"), Run: filepath.Join(dir, "run"),
		}}
		for name, content := range signedFiles(t, "v2", private) {
			writeTestFile(t, filepath.Join(c.paths.Boot, "a", name), content)
		}
		writeTestFile(t, filepath.Join(c.paths.Boot, "config.txt"), []byte("os_prefix=a/\n"))
		writeTestFile(t, c.paths.StateFile("clock"), []byte("set by the test\n"))
		c.from(t, "a")
		r.boards = append(r.boards, c)
		r.ended.Go(func() { c.run(t, ctx) })
	}
	t.Cleanup(func() {
		r.stop()
		r.ended.Wait()
	})
	return r
}

func writeTestFile(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, content, 0o600)); err != nil {
		t.Error(err)
	}
}

// from starts the card from a slot.
func (c *testCard) from(t *testing.T, slot string) {
	writeTestFile(t, filepath.Join(c.paths.Proc, "cmdline"), []byte("panic=10 bramble.slot="+slot+"\n"))
}

// run runs the board, and restarts it in the other slot when it requests that.
func (c *testCard) run(t *testing.T, ctx context.Context) {
	slot := "a"
	for ctx.Err() == nil {
		c.starts.Add(1)
		slots, err := cardinit.OpenSlots(cardMachine{}, c.paths, c.cfg.Update.Keys)
		if err != nil {
			t.Error(err)
			return
		}
		err = node.Run(ctx, c.cfg, node.Options{Logger: slog.New(slog.DiscardHandler), Version: "test", CardHost: ownCard{c.paths, slots}})
		switch {
		case errors.Is(err, node.ErrTrial) && !c.refuses.Load():
			slot = cardinit.OtherSlot(slot)
			c.from(t, slot)
		case errors.Is(err, node.ErrTrial):
		case err != nil:
			t.Error(err)
			return
		}
	}
}

// firmware returns the slot and version that the firmware would start.
func (c *testCard) firmware(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.paths.Boot, "config.txt"))
	if err != nil {
		t.Fatal(err)
	}
	slot := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(string(text)), "os_prefix="), "/")
	version, err := os.ReadFile(filepath.Join(c.paths.Boot, slot, cardinit.VersionFile))
	if err != nil {
		t.Fatal(err)
	}
	return slot + " " + strings.TrimSpace(string(version))
}

// ready reports whether the board would be sent clients.
func (c *testCard) ready() bool {
	own, err := client.New(c.console, c.access)
	if err != nil {
		return false
	}
	defer own.Close()
	ok, _, err := own.Ready(context.Background())
	return ok && err == nil
}

func (r *cardRack) allReady() {
	r.t.Helper()
	for end := time.Now().Add(updatePatience); ; time.Sleep(50 * time.Millisecond) {
		ready := 0
		for _, c := range r.boards {
			if c.ready() {
				ready++
			}
		}
		if ready == len(r.boards) {
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("only %d boards are ready", ready)
		}
	}
}

const updatePatience = time.Minute

// TestUpdateOfARack updates three real boards, while two of them
// serve at every moment. A second update has nothing to do, and a third stops at
// the first board whose new version does not start.
func TestUpdateOfARack(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs and updates a rack")
	}
	r := startCardRack(t, 3)
	r.allReady()
	first, err := client.New(r.boards[1].console, r.boards[1].access)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	send := func(version string, private []byte, keyFile string, dry bool) (string, error) {
		new, err := release.New(signedFiles(t, version, private))
		if err == nil && keyFile != "" {
			new.Signature, err = allowDowngrade(world{err: io.Discard}, new.Signature, keyFile)
		}
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		err = updateRack(t.Context(), world{out: &out}, first, new, dry)
		return out.String(), err
	}
	update := func(version string, dry bool) (string, error) { return send(version, r.signer, "", dry) }
	if output, err := update("v3", true); err != nil || strings.Count(output, "would be updated to v3") != 3 {
		t.Errorf("a dry run prints\n%s%v", output, err)
	}
	strange, _ := cardinit.NewUpdateKey()
	keyFile := filepath.Join(t.TempDir(), "update.key")
	writeTestFile(t, keyFile, r.signer)
	for reason, private := range map[string][]byte{"it is not signed": nil, "no key under [update] keys": strange} {
		if output, err := send("v3", private, "", false); err == nil || !strings.Contains(err.Error(), reason) || output != "" {
			t.Errorf("%s: %v\n%s", reason, err, output)
		}
	}
	if output, err := update("v1", false); err == nil || !strings.Contains(err.Error(), "older than the board's version") || output != "" {
		t.Errorf("an older version: %v\n%s", err, output)
	}
	if output, err := send("v1", r.signer, keyFile, true); err != nil || strings.Count(output, "would be updated to v1") != 3 {
		t.Errorf("an older version that the owner allows: %v\n%s", err, output)
	}

	watching, stop := context.WithCancel(t.Context())
	least := atomic.Int64{}
	least.Store(3)
	var watched sync.WaitGroup
	watched.Go(func() {
		for watching.Err() == nil {
			n := int64(0)
			for _, c := range r.boards {
				if c.ready() {
					n++
				}
			}
			least.Store(min(n, least.Load()))
			time.Sleep(20 * time.Millisecond)
		}
	})
	output, err := update("v3", false)
	stop()
	watched.Wait()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for i, c := range r.boards {
		if got := c.firmware(t); got != "b v3" || c.starts.Load() != 2 {
			t.Errorf("card-%d starts %s, and was started %d times", i, got, c.starts.Load())
		}
	}
	if n := least.Load(); n < 2 {
		t.Errorf("at one moment only %d boards were ready", n)
	}
	if output, err := update("v3", false); err != nil || !strings.HasSuffix(output, "every board runs v3 already\n") {
		t.Errorf("a second time it prints\n%s%v", output, err)
	}

	for _, c := range r.boards {
		c.refuses.Store(true)
	}
	output, err = update("v4", false)
	if err == nil || !strings.Contains(err.Error(), "it runs v3 again") || strings.Count(output, "restarting") != 1 {
		t.Errorf("a version that does not start: %v\n%s", err, output)
	}
	for i, c := range r.boards {
		if got := c.firmware(t); got != "b v3" {
			t.Errorf("after that card-%d starts %s", i, got)
		}
	}
}

func TestUpdateOfNoImage(t *testing.T) {
	var out strings.Builder
	w := world{out: &out, err: &out, getenv: func(string) string { return "" }}
	if code := runCommand(t.Context(), []string{"update", filepath.Join(t.TempDir(), "none.img")}, w); code != exitFailed || !strings.Contains(out.String(), "opening the image") {
		t.Errorf("without an image: %d, %s", code, out.String())
	}
	out.Reset()
	if code := runCommand(t.Context(), []string{"update"}, w); code != exitUsage || !strings.Contains(out.String(), "name one card image") {
		t.Errorf("without a name: %d, %s", code, out.String())
	}
}
