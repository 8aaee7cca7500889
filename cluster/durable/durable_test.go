package durable_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"bramble/cluster/durable"
)

func TestWriteFileReplacesAndLeavesNothingElse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	// What a power cut during an earlier write left behind.
	if err := os.WriteFile(path+".new", []byte("a longer half-written file"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "two"} {
		if err := durable.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("the file holds %q, %v; want %q", got, err, text)
		}
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("the directory holds %v, %v", names, err)
	}
}

func TestWriteFileThatFailsKeepsTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	if err := os.MkdirAll(filepath.Join(path, "child"), 0o755); err != nil { // a rename onto it fails
		t.Fatal(err)
	}
	if err := durable.WriteFile(path, []byte("x"), 0o600); err == nil {
		t.Error("a directory was replaced by a file")
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("the directory holds %v, %v", names, err)
	}
	if err := durable.WriteFile(filepath.Join(dir, "missing", "state"), []byte("x"), 0o600); err == nil {
		t.Error("a file was written into a missing directory")
	}
}

func TestOneProcessLocksADirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	first, err := durable.LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := durable.LockDir(dir)
	if want := fmt.Sprintf("it is in use by process %d", os.Getpid()); !errors.Is(err, durable.ErrLocked) || err.Error() != want {
		t.Fatalf("the second lock: %v, %v; want %s", second, err, want)
	}
	first.Release()
	third, err := durable.LockDir(dir)
	if err != nil {
		t.Fatalf("after its release: %v", err)
	}
	third.Release()
}
