package cardinit

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A later board starts its own kernel: a version without that kernel is refused before
// anything on the card changes, and a version with it is tried.
func TestLaterBoardNeedsItsKernel(t *testing.T) {
	for release, file := range map[string]string{"6.1.0-50-armmp": ARMv7KernelFile, "6.1.0-50-arm64": ARM64KernelFile} {
		t.Run(file, func(t *testing.T) { ownKernel(t, release, file) })
	}
}

func ownKernel(t *testing.T, runs, file string) {
	p, m := newTestCard(t)
	writeFiles(t, p.Proc, map[string]string{"sys/kernel/osrelease": runs + "\n"})
	writeFiles(t, p.Boot, map[string]string{"a/" + file: "later kernel of old"})
	s, err := OpenSlots(m, p, testOwners())
	if err != nil {
		t.Fatal(err)
	}
	r := manifestOf("new", "b")
	if _, err := s.Begin(signManifest(r)); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "--later") {
		t.Errorf("a version for first boards only: %v", err)
	}
	if _, err := os.Stat(s.filePath("b", KernelFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it left something in the other slot: %v", err)
	}

	content := slotContent("new", "b")
	content[file] = "later kernel of new"
	sum := sha256.Sum256([]byte(content[file]))
	r.Files = append(r.Files, SlotFile{file, int64(len(content[file])), hex.EncodeToString(sum[:])})
	missing, err := s.Begin(signManifest(r))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(missing, func(f SlotFile) bool { return f.Name == file }) {
		t.Errorf("to send: %v, without its kernel", missing)
	}
	for _, f := range missing {
		if err := s.Put(f, strings.NewReader(content[f.Name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Seal(r.Version); err != nil {
		t.Error(err)
	}
	if err := os.Remove(s.filePath("b", file)); err != nil {
		t.Fatal(err)
	}
	if s.checkOther("new") == nil {
		t.Error("a slot without this board's kernel counts as complete")
	}
}

// Each kind of kernel is loaded by the kexec of its kind.
func TestEachKernelIsLoadedByItsOwnProgram(t *testing.T) {
	for release, want := range map[string]string{
		"":                 "kexec -l boot/b/vmlinuz --initrd=boot/b/initrd.img --command-line=bramble.slot=b bramble.trial=1",
		"6.1.0-50-rpi":     "kexec -l boot/b/vmlinuz --initrd=boot/b/initrd.img --command-line=bramble.slot=b bramble.trial=1",
		"6.1.0-50-armmp\n": "kexec -l boot/b/vmlinuz7 --initrd=boot/b/initrd.img --command-line=bramble.slot=b bramble.trial=1 --image-size=67108864",
		"6.1.0-50-arm64\n": "kexec64 -l boot/b/vmlinuz8 --initrd=boot/b/initrd.img --command-line=bramble.slot=b bramble.trial=1",
	} {
		p, m := newTestCard(t)
		if release != "" {
			writeFiles(t, p.Proc, map[string]string{"sys/kernel/osrelease": release})
		}
		writeFiles(t, p.Boot, map[string]string{"b/" + CmdlineFile: "bramble.slot=b\n"})
		a := &cardInit{Config: Config{System: m, Paths: p}, params: KernelParams{Slot: "a"}, log: newLogRing(p)}
		for _, program := range []string{"kexec", "kexec64"} {
			m.answers[program+" -e"] = fakeAnswer{code: 1, output: "the test has no other kernel"}
		}
		writeFiles(t, p.Proc, map[string]string{"cmdline": "bramble.slot=a"})
		if err := a.kexecOtherSlot(openTestSlots(t, m, p)); err == nil || !strings.Contains(err.Error(), "no other kernel") {
			t.Errorf("%s: %v", release, err)
		}
		did := m.commandsWith("kexec")
		if len(did) != 2 || strings.ReplaceAll(did[0], filepath.Dir(p.Boot)+"/", "") != want {
			t.Errorf("%q: %q, want %s", release, did, want)
		}
	}
}

// A version that is too large for a card is refused before the other slot changes.
func TestAVersionThatDoesNotFitIsRefused(t *testing.T) {
	p, m := newTestCard(t)
	writeFiles(t, p.Boot, map[string]string{"b/" + VersionFile: "older\n", "b/" + InitrdFile: "of older"})
	r := manifestOf("new", "b")
	need := int64(512) + (int64(len(signManifest(r)))+511)/512*512 // its version's line, and its signature
	for _, f := range r.Files {
		need += (f.Size + 511) / 512 * 512
	}
	const have = 2 * 512 // what is written over
	s, err := OpenSlots(m, p, testOwners())
	if err != nil {
		t.Fatal(err)
	}
	m.room = need - have - 1
	if _, err := s.Begin(signManifest(r)); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "write the new image to the card") {
		t.Errorf("a byte too large: %v", err)
	}
	if got := s.readVersion("b"); got != "older" {
		t.Errorf("the other slot is now %q", got)
	}
	m.room = need - have
	if _, err := s.Begin(signManifest(r)); err != nil {
		t.Errorf("a version that just fits: %v", err)
	}
}
