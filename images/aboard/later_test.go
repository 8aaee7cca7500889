package aboard

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

// A later board starts a kernel of its own, so that a version without one is
// refused before anything of the card is touched, and one with it is tried.
func TestALaterBoardWantsItsOwnKernel(t *testing.T) {
	p, m := newCard(t)
	put(t, p.Proc, map[string]string{"sys/kernel/osrelease": "6.1.0-50-armmp\n"})
	put(t, p.Boot, map[string]string{"a/" + LaterKernelFile: "later kernel of old"})
	s, err := OpenSlots(m, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.whole("a"); err != nil {
		t.Errorf("the running slot: %v", err)
	}
	r := releaseOf("new", "b")
	if _, err := s.Begin(r); !errors.Is(err, ErrRefuse) || !strings.Contains(err.Error(), "--later") {
		t.Errorf("a version for first boards alone: %v", err)
	}
	if _, err := os.Stat(s.file("b", KernelFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it left something in the other slot: %v", err)
	}

	content := slotContent("new", "b")
	content[LaterKernelFile] = "later kernel of new"
	sum := sha256.Sum256([]byte(content[LaterKernelFile]))
	r.Files = append(r.Files, File{LaterKernelFile, int64(len(content[LaterKernelFile])), hex.EncodeToString(sum[:])})
	missing, err := s.Begin(r)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(missing, func(f File) bool { return f.Name == LaterKernelFile }) {
		t.Errorf("%v are to be sent, and not its kernel", missing)
	}
	for _, f := range missing {
		if err := s.Put(f, strings.NewReader(content[f.Name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.Seal(r), s.whole("b")); err != nil {
		t.Error(err)
	}
	if err := os.Remove(s.file("b", LaterKernelFile)); err != nil {
		t.Fatal(err)
	}
	if s.whole("b") == nil {
		t.Error("a slot without this board's kernel counts as whole")
	}
}
