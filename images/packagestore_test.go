//go:build linux

package images

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A package is downloaded once, and accepted only with its pinned hash.
func TestPackagesAreCheckedByTheirHash(t *testing.T) {
	needTools(t, tool{aptHelper, "apt"})
	tools, err := findTools(tool{aptHelper, "apt"})
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Path != "/debian/pool/main/a/a_1_all.deb" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte("a package")) // a client that is gone has failed by itself
	}))
	defer mirror.Close()
	good := Package{Name: "a", Version: "1", SHA256: hashBytes([]byte("a package")), Path: "pool/main/a/a_1_all.deb"}
	other, gone := good, good
	other.SHA256 = hashBytes([]byte("another"))
	gone.Path = "pool/main/a/a_0_all.deb"

	folder := filepath.Join(t.TempDir(), "packages")
	s, err := PackageSource{Mirror: mirror.URL + "/debian/", Packages: folder}.withCache()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.getPackage(t.Context(), tools, other); err == nil || !strings.Contains(err.Error(), "a 1: downloading") {
		t.Errorf("another hash: %v", err)
	}
	if _, _, err := s.getPackage(t.Context(), tools, gone); !errors.Is(err, ErrPackageGone) || !strings.Contains(err.Error(), "bramble image --relock") {
		t.Errorf("a missing package: %v", err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("left of a refused package: %v (%v)", left, err)
	}
	file, fresh, err := s.getPackage(t.Context(), tools, good)
	if text, _ := os.ReadFile(file); err != nil || !fresh || string(text) != "a package" {
		t.Errorf("%q, fresh %t, %v", text, fresh, err)
	}
	before := asked
	if _, fresh, err := s.getPackage(t.Context(), tools, good); err != nil || fresh || asked != before {
		t.Errorf("a cached package was downloaded again: fresh %t, %v", fresh, err)
	}
	if err := os.WriteFile(file, []byte("a rotten package"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, fresh, err := s.getPackage(t.Context(), tools, good); err != nil || !fresh {
		t.Errorf("a damaged cached package: fresh %t, %v", fresh, err)
	}
}

// A list of packages is made only from an index that Debian has signed.
func TestAnUnsignedIndexIsRefused(t *testing.T) {
	needTools(t, tool{aptGet, "apt"})
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/debian/dists/bookworm/InRelease" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte("Origin: Debian\nSuite: bookworm\nDate: Sat, 11 Jul 2026 10:16:37 UTC\nSHA256:\n")) // as above
	}))
	defer mirror.Close()
	file := filepath.Join(t.TempDir(), "packages.lock")
	err := Relock(t.Context(), PackageSource{Mirror: mirror.URL + "/debian", Lock: file}, func(string) { t.Error("a list was made") })
	if errors.Is(err, ErrMissingTools) {
		t.Skip(err)
	}
	if err == nil || !strings.Contains(err.Error(), "the index of bookworm") {
		t.Errorf("the index was accepted: %v", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the list was written: %v", err)
	}
}
