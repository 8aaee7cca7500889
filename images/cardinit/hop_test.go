package cardinit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// hopBoard is a board with four processors, its card, and the firmware.
type hopBoard struct {
	t      *testing.T
	paths  Paths
	fake   *fakeSystem
	bad    bool   // the other slot's kernel does not come up
	trials int    // how often another slot's kernel was started
	runs   string // the slot that runs; "": the power is off
	trial  bool   // by kexec
}

func newHopBoard(t *testing.T) *hopBoard {
	p, m := newTestCard(t)
	m.answers["kexec -e"] = fakeAnswer{code: 1} // the test takes it from there
	return &hopBoard{t: t, paths: p, fake: m}
}

// newInit returns the init of the running slot.
func (h *hopBoard) newInit() *cardInit {
	line, err := os.ReadFile(filepath.Join(h.paths.Proc, "cmdline"))
	if err != nil {
		h.t.Fatal(err)
	}
	return &cardInit{Config: Config{System: h.fake, Paths: h.paths, Load: loadOwners}, params: parseCmdline(string(line)), log: newLogRing(h.paths)}
}

// endedContext returns a context that has ended, so that nothing waits for the console.
func (h *hopBoard) endedContext() context.Context {
	ctx, cancel := context.WithCancel(h.t.Context())
	cancel()
	return ctx
}

// setCmdline sets the parameters of the running kernel.
func (h *hopBoard) setCmdline(params string) {
	possible := "0-3\n"
	if strings.Contains(params, "nr_cpus=01") {
		possible = "0\n"
	}
	writeFiles(h.t, h.paths.Proc, map[string]string{"cmdline": params})
	writeFiles(h.t, h.paths.Sys, map[string]string{"devices/system/cpu/possible": possible})
}

// switchOn starts the card like the firmware, and everything that follows until a board
// serves.
func (h *hopBoard) switchOn() {
	h.t.Helper()
	for starts := 1; ; starts++ {
		if starts > 3 {
			h.t.Fatal("the board restarts endlessly")
		}
		h.runs, h.trial = "", false
		if _, err := started(h.paths); err != nil {
			h.t.Fatalf("the card does not start: %v", err)
		}
		config, err := os.ReadFile(filepath.Join(h.paths.Boot, configFile))
		if err != nil {
			h.t.Fatal(err)
		}
		slot, _, err := parseBootSlot(string(config))
		if err != nil {
			h.t.Fatal(err)
		}
		params, err := os.ReadFile(filepath.Join(h.paths.Boot, slot, CmdlineFile))
		if err != nil {
			h.t.Fatal(err)
		}
		h.setCmdline(string(params))
		jumps := len(h.fake.commandsWith("kexec -e"))
		if !h.newInit().completeHop(h.endedContext()) {
			h.runs = slot
			return
		}
		if len(h.fake.commandsWith("kexec -e")) == jumps {
			continue // it could not, and restarts
		}
		h.trials++
		if isMultiprocessor(h.paths) {
			h.t.Fatal("kexec out of a kernel that may have started several processors")
		}
		if now, err := os.ReadFile(filepath.Join(h.paths.Boot, slot, CmdlineFile)); err != nil || !strings.Contains(string(now), AllCPUsParam) {
			h.t.Fatalf("another slot is tried while slot %s would start with %q (%v)", slot, now, err)
		}
		if h.bad {
			continue // a panic, and the firmware again
		}
		loaded := h.fake.commandsWith("kexec -l")
		_, words2, _ := strings.Cut(loaded[len(loaded)-1], "--command-line=")
		h.setCmdline(words2)
		if h.newInit().completeHop(h.endedContext()) {
			h.t.Fatal("a slot on trial tries another one")
		}
		h.runs, h.trial = parseCmdline(words2).Slot, true
		return
	}
}

// update runs the steps of "bramble update", up to the commit.
func (h *hopBoard) update(version string) {
	s, err := OpenSlots(h.fake, h.paths, testOwners())
	if err != nil {
		h.t.Fatal(err)
	}
	other := OtherSlot(h.runs)
	r := manifestOf(version, other)
	missing, err := s.Begin(signManifest(r))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range missing {
		if err := s.Put(f, strings.NewReader(slotContent(version, other)[f.Name])); err != nil {
			h.t.Fatal(err)
		}
	}
	if err := s.Seal(r.Version); err != nil {
		h.t.Fatal(err)
	}
	if err := h.newInit().startTrial(); err != nil {
		h.t.Fatal(err)
	}
	h.switchOn()
	if !h.trial {
		return
	}
	if s, err = OpenSlots(h.fake, h.paths, testOwners()); err != nil {
		h.t.Fatal(err)
	}
	if err := s.Commit(version); err != nil {
		h.t.Fatal(err)
	}
}

// cut runs do, and reports whether the power was cut during it.
func cut(do func()) (was bool) {
	defer func() {
		if r := recover(); r != nil {
			if r != any(errCut) {
				panic(r)
			}
			was = true
		}
	}()
	do()
	return false
}

// A power cut at any moment of an update of a board with several processors leaves a
// card that starts a complete slot, with all processors, and that tries a version at
// most once per request.
func TestPowerCutAtEveryStepOfAHop(t *testing.T) {
	t.Parallel()
	for _, bad := range []bool{false, true} {
		for at := 1; ; at++ {
			h := newHopBoard(t)
			h.switchOn()
			h.bad = bad
			h.fake.cutAt = h.fake.syncs + at
			was := cut(func() { h.update("new") })
			h.fake.cutAt = 0
			if !was {
				if at < 12 {
					t.Fatalf("an update by a hop has only %d moments for a cut", at)
				}
				if version, err := started(h.paths); err != nil || h.trials != 1 || version != map[bool]string{false: "new", true: "old"}[bad] {
					t.Fatalf("bad %v: after %d trials the card starts %q, %v", bad, h.trials, version, err)
				}
				break
			}
			h.switchOn()
			if h.trials > 1 {
				t.Fatalf("bad %v, cut %d: %d trials", bad, at, h.trials)
			}
			for range 2 { // nor later
				was := h.trials
				h.switchOn()
				if h.trials != was || h.trial || !isMultiprocessor(h.paths) {
					t.Fatalf("bad %v, cut %d: a later start has %d trials after %d, several processors: %v", bad, at, h.trials, was, isMultiprocessor(h.paths))
				}
			}
			if version, err := started(h.paths); err != nil || version != "old" && h.runs != "b" {
				t.Fatalf("bad %v, cut %d: it starts %q, %v", bad, at, version, err)
			}
			if bad || h.runs == "b" {
				continue
			}
			before := h.trials
			h.update("new")
			if version, err := started(h.paths); err != nil || version != "new" || h.trials != before+1 {
				t.Fatalf("cut %d: after the second try the card starts %q, %v", at, version, err)
			}
		}
	}
}

// A hop starts the other slot with that slot's own parameters, without the hop's mark.
func TestHopUsesTheOtherSlotsParameters(t *testing.T) {
	h := newHopBoard(t)
	h.switchOn()
	h.update("new")
	loaded := h.fake.commandsWith("kexec -l")
	if len(loaded) != 1 {
		t.Fatalf("kexec loads %v", loaded)
	}
	if want := "kexec -l " + filepath.Join(h.paths.Boot, "b", KernelFile) + " --initrd=" + filepath.Join(h.paths.Boot, "b", InitrdFile) +
		" --command-line=panic=10 nr_cpus=04 bramble.slot=b bramble.trial=1"; loaded[0] != want {
		t.Errorf("kexec loads %s\nwant        %s", loaded[0], want)
	}
}

// During a hop no board's program runs, and no feeder. The watchdog that counts through
// the jump is opened just for that, if it may be.
func TestTheWatchdogCountsThroughAHop(t *testing.T) {
	for _, may := range []bool{false, true} {
		h := newHopBoard(t)
		h.switchOn()
		params := one() + map[bool]string{false: "", true: " bramble.watchdog=1"}[may]
		writeFiles(t, h.paths.Boot, map[string]string{"a/" + CmdlineFile: one(), "b/" + VersionFile: "new\n"})
		writeFiles(t, h.paths.Boot, map[string]string{"b/" + SignatureFile: signManifest(manifestOf("new", "b"))})
		for name, text := range slotContent("new", "b") {
			writeFiles(t, h.paths.Boot, map[string]string{"b/" + name: text})
		}
		h.setCmdline(params)
		h.newInit().completeHop(h.endedContext())
		if got := len(h.fake.commandsWith("watchdog")) == 1; got != may || len(h.fake.commandsWith("kexec -e")) != 1 {
			t.Errorf("the watchdog may be opened: %v, and was: %v; %v", may, got, h.fake.commandsWith("kexec"))
		}
	}
}

// one returns the running slot's command line during a hop.
func one() string {
	return strings.Replace(strings.TrimSpace(slotContent("old", "a")[CmdlineFile]), AllCPUsParam, oneCPUParam, 1)
}

// stuckCard is a card that has become read-only.
type stuckCard struct{ *fakeSystem }

func (stuckCard) Remount(string, bool) error { return errors.New("read-only file system") }

func TestAbortedHops(t *testing.T) {
	hop := func() (h *hopBoard, line string) {
		h = newHopBoard(t)
		writeFiles(t, h.paths.Boot, map[string]string{"b/" + VersionFile: "new\n", "b/" + SignatureFile: signManifest(manifestOf("new", "b"))})
		for name, text := range slotContent("new", "b") {
			writeFiles(t, h.paths.Boot, map[string]string{"b/" + name: text})
		}
		return h, filepath.Join(h.paths.Boot, "a", CmdlineFile)
	}
	one := one()
	ends := func(what string, h *hopBoard, m System, want bool, text string) {
		t.Helper()
		a := h.newInit()
		a.System = m
		if got := a.completeHop(h.endedContext()); got != want {
			t.Errorf("%s: a restart: %v", what, got)
		}
		if said := strings.Join(a.log.tail, "\n"); !strings.Contains(said, text) {
			t.Errorf("%s: the log is %q, want %q", what, said, text)
		}
		if n := len(h.fake.commandsWith("kexec")); n > 0 {
			t.Errorf("%s: kexec was run", what)
		}
	}

	h, line := hop()
	writeFiles(t, h.paths.Boot, map[string]string{"a/" + CmdlineFile: one})
	h.setCmdline(one)
	ends("a card that cannot be written", h, stuckCard{h.fake}, false, "cannot be restored")

	h.setCmdline(slotContent("old", "a")[CmdlineFile])
	ends("no restart", h, h.fake, false, "is not tried")
	if now, err := os.ReadFile(line); err != nil || strings.Contains(string(now), oneCPUParam) {
		t.Errorf("the mark was left: %q, %v", now, err)
	}

	h, _ = hop()
	writeFiles(t, h.paths.Boot, map[string]string{"a/" + CmdlineFile: one})
	if err := os.Remove(filepath.Join(h.paths.Boot, "b", VersionFile)); err != nil {
		t.Fatal(err)
	}
	h.setCmdline(one)
	ends("a slot that is not whole", h, h.fake, true, "slot b is incomplete")

	h, line = hop()
	writeFiles(t, h.paths.Boot, map[string]string{"a/" + CmdlineFile: one})
	h.setCmdline(one + " bramble.kexec=0")
	ends("an emulator", h, h.fake, true, "restarting into slot b (try)")
	if now, err := os.ReadFile(line); err != nil || strings.Contains(string(now), oneCPUParam) {
		t.Errorf("an emulator: the mark was left: %q, %v", now, err)
	}

	h, _ = hop()
	writeFiles(t, h.paths.Boot, map[string]string{"a/" + CmdlineFile: "nr_cpus=1\n"})
	h.setCmdline("nr_cpus=1")
	ends("who wants one processor", h, h.fake, false, "")
	h.setCmdline("bramble.slot=a")
	if err := h.newInit().startTrial(); !errors.Is(err, ErrNotNow) || !strings.Contains(err.Error(), AllCPUsParam) {
		t.Errorf("a card without the parameter: %v", err)
	}
	s, err := OpenSlots(h.fake, h.paths, testOwners())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Begin(signManifest(manifestOf("newer", "b"))); !errors.Is(err, ErrNotNow) || s.readVersion("b") != "new" {
		t.Errorf("an update of a card without the parameter: %v, and slot b is %q", err, s.readVersion("b"))
	}
}

func TestFindParam(t *testing.T) {
	for line, want := range map[string]int{
		"": -1, AllCPUsParam: 0, "a nr_cpus=04 b\n": 2, "a nr_cpus=04\n": 2, "nr_cpus=044": -1, "xnr_cpus=04": -1, "\tnr_cpus=04\r\n": 1,
		"nr_cpus=04 nr_cpus=04": -1, "nr_cpus=0 nr_cpus=04": 10,
	} {
		if got := findParam(line, AllCPUsParam); got != want {
			t.Errorf("in %q the offset is %d, want %d", line, got, want)
		}
	}
}
