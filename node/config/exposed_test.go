package config

import (
	"errors"
	"fmt"
	"io/fs"
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
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o777, 0o755} { // a folder above the file's, and above the file that a link names
		above, link := filepath.Join(dir, "above"), filepath.Join(dir, fmt.Sprint("link of ", mode))
		below := filepath.Join(above, "below", "update.key")
		if err := errors.Join(os.MkdirAll(filepath.Dir(below), 0o755), os.WriteFile(below, nil, 0o600), os.Symlink(below, link), os.Chmod(above, mode)); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{below, link} {
			text, _ := DescribeExposure(path)
			if isNamed := text == "everybody on this machine can replace "+path+", which has secrets: run chmod o-w "+above; isNamed != (mode == 0o777) || !isNamed && text != "" {
				t.Errorf("%s, with %v above: %q", path, mode, text)
			}
		}
	}
	if os.Getuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("only root can give a file away")
	}
	const service = 65534
	ledger := filepath.Join(dir, "ledger")
	if err := errors.Join(os.Chown(file, service, -1), os.Mkdir(ledger, 0o700)); err != nil {
		t.Fatal(err)
	}
	if text, isOpen := DescribeExposure(file); text != "another user (65534) owns "+file+", which has secrets, and can change it: run chown 0 "+file || isOpen {
		t.Errorf("%q, %v", text, isOpen)
	}
	c := Default() // root looks at the files of a service
	if c.Orders.Directory = ledger; os.Chown(ledger, service, -1) != nil {
		t.Fatal("the ledger cannot be given away")
	}
	if all, err := c.FindExposed(file); len(all) > 0 || err != nil {
		t.Errorf("of a service: %q, %v", all, err)
	}
	if err := os.Chown(dir, service, -1); err != nil {
		t.Fatal(err)
	}
	if text, _ := DescribeExposure(file); text != "" {
		t.Errorf("in the service's folder: %q", text)
	}
}

// No advice takes a file from who must read it: it names the user who runs the board, or for root the one who has the board's folder.
func TestOwnersOfSecrets(t *testing.T) {
	for _, test := range []struct {
		owner, user int
		mode        fs.FileMode
		want        string
		isOpen      bool
	}{
		{4321, 4321, 0o600, "", false},
		{0, 4321, 0o600, "", false}, // root reads everything
		{0, 0, 0o600, "", false},
		{-1, 4321, 0o600, "", false},
		{4321, -1, 0o600, "", false},
		{1000, 4321, 0o600, "another user (1000) owns f, which has secrets, and can change it: run chown 4321 f", false},
		{1000, 0, 0o600, "another user (1000) owns f, which has secrets, and can change it: run chown 0 f", false},
		{4321, 4321, 0o640, "its group can read f, which has secrets (mode 0640): run chmod go= f", false},
		{0, 4321, 0o640, "its group can read f, which has secrets (mode 0640): run chown 4321 f && chmod go= f", false},
		{0, 4321, 0o644, "everybody on this machine can read f, which has secrets (mode 0644): run chown 4321 f && chmod go= f", true},
		{-1, 4321, 0o644, "everybody on this machine can read f, which has secrets (mode 0644): run chmod go= f", true},
		{4321, 4321, 0o604, "everybody on this machine can read f, which has secrets (mode 0604): run chmod go= f", true},
	} {
		if text, isOpen := judgeOwner("f", test.mode, test.owner, test.user); text != test.want || isOpen != test.isOpen {
			t.Errorf("owner %d, user %d, mode %o: %q, %v", test.owner, test.user, test.mode, text, isOpen)
		}
	}
}
