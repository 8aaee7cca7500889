package cardinit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const testConfig = "# what the firmware starts\nkernel=vmlinuz\nos_prefix=a/\ngpu_mem=16\n"

// slotContent returns the files of a version's slot.
func slotContent(version, slot string) map[string]string {
	return map[string]string{
		KernelFile: "kernel of " + version, InitrdFile: strings.Repeat(version, 1000),
		CmdlineFile: "panic=10 nr_cpus=04 bramble.slot=" + slot + "\n", "bcm2835-rpi-b.dtb": "tree of " + version,
	}
}

func manifestOf(version, slot string) SlotManifest {
	r := SlotManifest{Version: version}
	for name, text := range slotContent(version, slot) {
		sum := sha256.Sum256([]byte(text))
		r.Files = append(r.Files, SlotFile{name, int64(len(text)), hex.EncodeToString(sum[:])})
	}
	slices.SortFunc(r.Files, func(a, b SlotFile) int { return strings.Compare(a.Name, b.Name) })
	return r
}

// newTestCard creates a card as it is flashed: version old in slot a, which runs.
func newTestCard(t *testing.T) (Paths, *fakeSystem) {
	t.Helper()
	p := fakePaths(t)
	files := map[string]string{"config.txt": testConfig, "a/slot.txt": "old\n"}
	for name, text := range slotContent("old", "a") {
		files["a/"+name] = text
	}
	writeFiles(t, p.Boot, files)
	setRunningSlot(t, p, "a")
	return p, newFakeSystem()
}

// setRunningSlot makes a slot the running one.
func setRunningSlot(t *testing.T, p Paths, slot string) {
	t.Helper()
	writeFiles(t, p.Proc, map[string]string{"cmdline": "console=ttyAMA0 panic=10 bramble.slot=" + slot})
}

// started returns the version that the firmware starts from a card, or an error if that
// slot is incomplete.
func started(p Paths) (string, error) {
	text, err := os.ReadFile(filepath.Join(p.Boot, "config.txt"))
	if err != nil {
		return "", err
	}
	slot, _, err := parseBootSlot(string(text))
	if err != nil {
		return "", err
	}
	line, err := os.ReadFile(filepath.Join(p.Boot, slot, VersionFile))
	if err != nil {
		return "", err
	}
	version := strings.TrimSpace(string(line))
	for name, want := range slotContent(version, slot) {
		got, err := os.ReadFile(filepath.Join(p.Boot, slot, name))
		if name == CmdlineFile { // with one processor it starts as well
			got = bytes.Replace(got, []byte(oneCPUParam), []byte(AllCPUsParam), 1)
		}
		if err != nil || string(got) != want {
			return "", fmt.Errorf("slot %s: %s is not that of %s: %w", slot, name, version, err)
		}
	}
	return version, nil
}

// updateTo runs the steps of "bramble update", up to the commit.
func updateTo(t *testing.T, m System, p Paths, version string) error {
	s, err := OpenSlots(m, p, testOwners())
	if err != nil {
		return err
	}
	state, err := s.State()
	if err != nil {
		return err
	}
	if state.Version != version { // not yet on trial
		other := OtherSlot(state.Running)
		r := manifestOf(version, other)
		missing, err := s.Begin(signManifest(r))
		if err != nil {
			return err
		}
		for _, f := range missing {
			if err := s.Put(f, strings.NewReader(slotContent(version, other)[f.Name])); err != nil {
				return err
			}
		}
		if err := s.Seal(r.Version); err != nil {
			return err
		}
		setRunningSlot(t, p, other) // kexec
		if s, err = OpenSlots(m, p, testOwners()); err != nil {
			return err
		}
	}
	return s.Commit(version)
}

// TestPowerCutAtEveryStep cuts the power at each moment of an update at which something
// has reached the card. The firmware always finds a complete slot, and the repeated
// update succeeds.
func TestPowerCutAtEveryStep(t *testing.T) {
	t.Parallel()
	for cut := 1; ; cut++ {
		p, m := newTestCard(t)
		m.cutAt = cut
		done := false
		func() {
			defer func() {
				if r := recover(); r != nil && r != any(errCut) {
					panic(r)
				}
			}()
			if err := updateTo(t, m, p, "new"); err != nil {
				t.Fatal(err)
			}
			done = true
		}()
		version, err := started(p)
		if err != nil {
			t.Fatalf("cut %d: the card does not start: %v", cut, err)
		}
		if done {
			if version != "new" {
				t.Fatalf("the update succeeded, and the card starts %s", version)
			}
			if cut < 8 {
				t.Fatalf("an update has only %d moments for a cut", cut)
			}
			return
		}
		text, err := os.ReadFile(filepath.Join(p.Boot, "config.txt"))
		if err != nil {
			t.Fatal(err)
		}
		slot, _, err := parseBootSlot(string(text))
		if err != nil {
			t.Fatal(err)
		}
		setRunningSlot(t, p, slot) // the firmware's start
		m.cutAt = 0
		if err := updateTo(t, m, p, "new"); err != nil {
			t.Fatalf("cut %d: the second try: %v", cut, err)
		}
		if version, err = started(p); err != nil || version != "new" {
			t.Fatalf("cut %d: after the second try the card starts %q, %v", cut, version, err)
		}
	}
}

func TestUpdateThereAndBack(t *testing.T) {
	p, m := newTestCard(t)
	for _, version := range []string{"new", "newer", "newest"} {
		if err := updateTo(t, m, p, version); err != nil {
			t.Fatal(err)
		}
		if got, err := started(p); err != nil || got != version {
			t.Fatalf("the card starts %q and not %q: %v", got, version, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(p.Boot, "config.txt"))
	if err != nil || string(text) != strings.Replace(testConfig, "=a/", "=b/", 1) {
		t.Errorf("config.txt is now %q, %v", text, err)
	}
	for _, line := range m.commandsWith("remount") {
		if !strings.HasPrefix(line, "remount boot") {
			t.Error(line)
		}
	}
	if all := m.commandsWith("remount"); all[len(all)-1] != "remount boot ro" {
		t.Errorf("the boot partition was left writable: %v", all)
	}
}

func TestPresentFilesAreNotSentAgain(t *testing.T) {
	p, m := newTestCard(t)
	s, err := OpenSlots(m, p, testOwners())
	if err != nil {
		t.Fatal(err)
	}
	r := manifestOf("new", "b")
	writeFiles(t, p.Boot, map[string]string{"b/" + KernelFile: "kernel of new", "b/" + InitrdFile: "half of it", "b/bcm2835-rpi-zero.dtb": "of an older version"})
	missing, err := s.Begin(signManifest(r))
	if err != nil || len(missing) != len(r.Files)-1 {
		t.Fatalf("missing are %v, %v", missing, err)
	}
	if _, err := os.Stat(filepath.Join(p.Boot, "b", "bcm2835-rpi-zero.dtb")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not in the version is still there: %v", err)
	}
	if err := s.Seal(r.Version); !errors.Is(err, ErrNotNow) {
		t.Errorf("half a version was sealed: %v", err)
	}
}

// Files that both versions have are copied on the card; files that differ are sent.
func TestFilesOfTheRunningSlotAreCopied(t *testing.T) {
	p, m := newTestCard(t)
	s, err := OpenSlots(m, p, testOwners())
	if err != nil {
		t.Fatal(err)
	}
	kernel := slotContent("new", "b")[KernelFile]
	writeFiles(t, p.Boot, map[string]string{"a/" + KernelFile: kernel})
	missing, err := s.Begin(signManifest(manifestOf("new", "b")))
	var names []string
	for _, f := range missing {
		names = append(names, f.Name)
	}
	// The kernel parameters of the two slots have the same length.
	if got := strings.Join(names, " "); err != nil || got != "bcm2835-rpi-b.dtb "+CmdlineFile+" "+InitrdFile {
		t.Errorf("to send: %s, %v", got, err)
	}
	if got, err := os.ReadFile(filepath.Join(p.Boot, "b", KernelFile)); err != nil || string(got) != kernel {
		t.Errorf("the kernel is %q, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(p.Boot, "b", CmdlineFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the running slot's parameters were copied: %v", err)
	}
}

func TestRefusedFiles(t *testing.T) {
	p, m := newTestCard(t)
	s, err := OpenSlots(m, p, testOwners())
	if err != nil {
		t.Fatal(err)
	}
	good := manifestOf("new", "b")
	if _, err := s.Begin(signManifest(good)); err != nil {
		t.Fatal(err)
	}
	f := good.Files[0]
	for name, err := range map[string]error{
		"a path":       s.Put(SlotFile{"../config.txt", 1, f.SHA256}, strings.NewReader("x")),
		"the version":  s.Put(SlotFile{VersionFile, 1, f.SHA256}, strings.NewReader("x")),
		"another sum":  s.Put(SlotFile{f.Name, 4, f.SHA256}, strings.NewReader("evil")),
		"too short":    s.Put(f, strings.NewReader("x")),
		"too long":     s.Put(f, strings.NewReader(slotContent("new", "b")[f.Name]+"x")),
		"no size":      s.Put(SlotFile{f.Name, 0, f.SHA256}, strings.NewReader("")),
		"beyond bound": s.Put(SlotFile{f.Name, maxSlotBytes + 1, f.SHA256}, strings.NewReader("")),
	} {
		if !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list, err := os.ReadDir(filepath.Join(p.Boot, "b")); err != nil || len(list) != 1 || list[0].Name() != SignatureFile {
		t.Errorf("a refused file is on the card: %v, %v", list, err)
	}
	change := func(edit func(*SlotManifest)) SlotManifest {
		r := manifestOf("new", "b")
		edit(&r)
		return r
	}
	for name, r := range map[string]SlotManifest{
		"no version":         change(func(r *SlotManifest) { r.Version = "" }),
		"two lines":          change(func(r *SlotManifest) { r.Version = "a\nb" }),
		"no kernel":          change(func(r *SlotManifest) { r.Files = r.Files[:2] }),
		"twice":              change(func(r *SlotManifest) { r.Files = append(r.Files, r.Files[0]) }),
		"a stranger's file":  change(func(r *SlotManifest) { r.Files[0].Name = "bootcode.bin" }),
		"no sum":             change(func(r *SlotManifest) { r.Files[0].SHA256 = "12" }),
		"more than fits":     change(func(r *SlotManifest) { r.Files[0].Size = maxSlotBytes }),
		"more than 32 files": change(func(r *SlotManifest) { r.Files = append(r.Files, make([]SlotFile, 40)...) }),
	} {
		if _, err := s.Begin(signManifest(r)); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoUpdateDuringATrial(t *testing.T) {
	p, m := newTestCard(t)
	writeFiles(t, p.Boot, map[string]string{"b/slot.txt": "new\n"})
	setRunningSlot(t, p, "b")
	s, err := OpenSlots(m, p, testOwners())
	if err != nil {
		t.Fatal(err)
	}
	if state, err := s.State(); err != nil || !state.Trial || state.Version != "new" || state.Other != "old" {
		t.Errorf("the state is %+v, %v", state, err)
	}
	if _, err := s.Begin(signManifest(manifestOf("newer", "a"))); !errors.Is(err, ErrNotNow) {
		t.Errorf("the fallback slot can be overwritten: %v", err)
	}
	if err := s.Commit("newer"); !errors.Is(err, ErrNotNow) {
		t.Errorf("a version that does not run was committed: %v", err)
	}
	if err := s.Commit("new"); err != nil {
		t.Error(err)
	}
	before := len(m.commandsWith("remount"))
	if err := s.Commit("new"); err != nil || len(m.commandsWith("remount")) != before {
		t.Errorf("a second commit writes, or fails: %v", err)
	}
}

func TestParseBootSlot(t *testing.T) {
	for text, want := range map[string]string{
		testConfig: "a", "os_prefix=b/\r\n": "b", "# os_prefix=a/\nos_prefix=b/": "b",
		"": "", "os_prefix=c/": "", "os_prefix=a/\nos_prefix=b/\n": "", "os_prefix=\n": "", "os_prefix=ab/": "",
	} {
		slot, at, err := parseBootSlot(text)
		if (err == nil) != (want != "") || err == nil && (slot != want || text[at:at+1] != want) {
			t.Errorf("%q parses as %q at %d, %v", text, slot, at, err)
		}
	}
}

// fakeBoard is the API's BoardControl.
type fakeBoard struct {
	drained bool
	tried   int
}

func (f *fakeBoard) Leading() bool { return true }
func (f *fakeBoard) Drained() bool { return f.drained }
func (f *fakeBoard) Leaving() bool { return f.drained }
func (f *fakeBoard) Try()          { f.tried++ }

func TestAPI(t *testing.T) {
	p, m := newTestCard(t)
	s, err := OpenSlots(m, p, testOwners())
	if err != nil {
		t.Fatal(err)
	}
	board := &fakeBoard{}
	server := httptest.NewServer(s.Handler(board))
	defer server.Close()
	ask := func(method, path, kind string, body []byte) (int, string) {
		t.Helper()
		r, err := http.NewRequest(method, server.URL+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", kind)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, strings.TrimSpace(string(text))
	}
	r := manifestOf("new", "b")
	r.Signature = signManifest(r)
	body, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if code, text := ask("POST", "/begin", "text/plain", body); code != http.StatusBadRequest {
		t.Error(code, text)
	}
	if code, text := ask("POST", "/begin", "application/json", []byte(`{"version":"x","surprise":1}`)); code != http.StatusBadRequest {
		t.Error(code, text)
	}
	if code, text := ask("POST", "/try", "application/json", body); code != http.StatusConflict || board.tried != 0 {
		t.Error(code, text)
	}
	if code, text := ask("POST", "/begin", "application/json", body); code != http.StatusOK || strings.Count(text, "sha256") != len(r.Files) {
		t.Fatal(code, text)
	}
	for _, f := range r.Files {
		path := fmt.Sprintf("/file/%s?size=%d&sha256=%s", f.Name, f.Size, f.SHA256)
		if code, text := ask("PUT", path, "", []byte("x")); code != http.StatusBadRequest {
			t.Error(code, text)
		}
		if code, text := ask("PUT", path, "", []byte(slotContent("new", "b")[f.Name])); code != http.StatusNoContent {
			t.Error(code, text)
		}
	}
	if code, text := ask("POST", "/try", "application/json", body); code != http.StatusConflict || board.tried != 0 || !strings.Contains(text, "drain it first") {
		t.Error(code, text)
	}
	board.drained = true
	if code, text := ask("POST", "/try", "application/json", body); code != http.StatusNoContent || board.tried != 1 {
		t.Error(code, text)
	}
	if code, text := ask("GET", "/slots", "", nil); code != http.StatusOK || text != `{"running":"a","version":"old","trial":false,"other":"new","leading":true,"drained":true}` {
		t.Error(code, text)
	}
	if code, text := ask("POST", "/commit", "application/json", []byte(`{"version":"new"}`)); code != http.StatusConflict {
		t.Error(code, text)
	}
}
