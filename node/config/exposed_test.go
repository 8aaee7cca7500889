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
