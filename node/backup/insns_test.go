package backup

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"bramble/node/orders"
)

var (
	countInstructions = flag.Bool("instructions", false, "count the instructions of a scheduled backup on an original board's processor; needs gcc and QEMU's qemu-user")
	stageBook         = flag.String("stage-book", "", "the folder of the book that TestStage takes")
	stageName         = flag.String("stage", "", "where TestStage stops")
)

// backupStages are what a board does for a scheduled backup, each with all before it.
func backupStages() []string {
	return []string{"start", "snapshot", "stream", "compress", "encrypt", "write", "verify"}
}

// TestStage does the part of a scheduled backup that -stage names.
func TestStage(t *testing.T) {
	if *stageName == "" {
		t.Skip("a part of TestInstructionsOfABackup")
	}
	b, err := orders.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	file, err := os.Open(*stageBook)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := b.Restore(file); err != nil {
		t.Fatal(err)
	}
	from, keyring := sourceOf(b), newRecipients(t)
	dir := t.TempDir()
	toFolder := func(verify func(io.Reader) error) error {
		return Folder(dir).Put(t.Context(), "one.age", func(w io.Writer) error {
			return keyring.Seal(w, func(w io.Writer) error { return from(t.Context(), w) })
		}, verify)
	}
	switch *stageName {
	case "start":
	case "snapshot":
		s, _, err := b.OpenBackup()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		_, err = s.WriteTo(io.Discard)
		if err != nil {
			t.Fatal(err)
		}
	case "stream":
		err = from(t.Context(), io.Discard)
	case "compress":
		err = packStream(io.Discard, func(w io.Writer) error { return from(t.Context(), w) })
	case "encrypt":
		err = keyring.Seal(io.Discard, func(w io.Writer) error { return from(t.Context(), w) })
	case "write":
		err = toFolder(func(io.Reader) error { return nil })
	case "verify":
		_, _, err = Make(t.Context(), Folder(dir), "one.age", keyring, from, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestInstructionsOfABackup counts the user-mode instructions of a scheduled backup of
// 100,000 orders to a folder on an original board's processor, stage by stage:
//
//	go test ./node/backup -run InstructionsOfABackup -v -instructions -timeout 30m
func TestInstructionsOfABackup(t *testing.T) {
	if !*countInstructions {
		t.Skip("a measurement: run it with -instructions, gcc and QEMU's qemu-user")
	}
	const count = 100_000
	tools := t.TempDir()
	s, _, err := newTestBook(t, count).OpenBackup()
	if err != nil {
		t.Fatal(err)
	}
	var book bytes.Buffer
	_, err = s.WriteTo(&book)
	if err := errors.Join(err, s.Close(), os.WriteFile(filepath.Join(tools, "book"), book.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	runTool := func(env []string, name string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Env = append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	plugin, program, counted := filepath.Join(tools, "insns.so"), filepath.Join(tools, "backup"), filepath.Join(tools, "count")
	runTool(nil, "gcc", "-O2", "-shared", "-fPIC", "-o", plugin, "../front/testdata/insns.c")
	runTool([]string{"CGO_ENABLED=0", "GOARCH=arm", "GOARM=6"}, "go", "test", "-c", "-o", program, ".")
	var first, before float64
	for i, stage := range backupStages() {
		runTool([]string{"INSNS=" + counted, "GOMAXPROCS=1"}, "qemu-arm", "-cpu", "arm1176", "-plugin", plugin, program,
			"-test.run=^TestStage$", "-test.timeout=30m", "-stage-book="+filepath.Join(tools, "book"), "-stage="+stage)
		text, err := os.ReadFile(counted)
		if err != nil {
			t.Fatal(err)
		}
		var n float64
		if _, err := fmt.Sscan(string(text), &n); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first, before = n, n
		}
		t.Logf("%-9s %.2f billion more, %.2f in all", stage, (n-before)/1e9, (n-first)/1e9)
		before = n
	}
}

func newRecipients(t testing.TB) *Keyring {
	t.Helper()
	k, err := NewRecipientsKeyring([]string{"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"})
	if err != nil {
		t.Fatal(err)
	}
	return k
}
