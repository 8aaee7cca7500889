package config

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestExposedFiles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it has no such modes")
	}
	dir := t.TempDir()
	c := Default()
	file := filepath.Join(dir, "bramble.toml")
	c.Orders.Directory, c.TLS.ACMEStorage = filepath.Join(dir, "ledger"), filepath.Join(dir, "certificates")
	if all, refusal := c.FindExposed(file); len(all) > 0 || refusal != nil {
		t.Errorf("files that are not there: %q, %v", all, refusal)
	}
	for _, folder := range []string{c.Orders.Directory, c.TLS.ACMEStorage} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if all, refusal := c.FindExposed(file); len(all) > 0 || refusal != nil {
		t.Errorf("private files: %q, %v", all, refusal)
	}
	for path, refused := range map[string]bool{file: true, c.Orders.Directory: false, c.TLS.ACMEStorage: false} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
		all, refusal := c.FindExposed(file)
		if len(all) != 1 || !strings.Contains(all[0], "everybody on this machine can read "+path) || !strings.HasSuffix(all[0], "run chmod go= "+path) || (refusal != nil) != refused {
			t.Errorf("%s: %q, %v", path, all, refusal)
		}
		if err := os.Chmod(path, info.Mode()); err != nil {
			t.Fatal(err)
		}
	}
}

// A file of another user, or one in a folder in which everybody can put another in its place, is named as ssh does.
func TestReplaceableFiles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it has no such modes")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "update.key")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]string{
		0o777:                 "everybody on this machine can replace " + file + ", which has secrets: run chmod o-w " + dir,
		0o777 | os.ModeSticky: "",
		0o755:                 "",
	} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if text, isOpen := DescribeExposure(file); text != want || isOpen {
			t.Errorf("in a folder with %v: %q, %v", mode, text, isOpen)
		}
	}
	if os.Getuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("only root can give a file away")
	}
	if err := os.Chown(file, 65534, -1); err != nil {
		t.Fatal(err)
	}
	if text, isOpen := DescribeExposure(file); text != "another user (65534) owns "+file+", which has secrets, and can change it: run chown 0 "+file || isOpen {
		t.Errorf("%q, %v", text, isOpen)
	}
}
