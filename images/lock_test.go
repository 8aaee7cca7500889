package images

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const goodHash = "061813bf602fdec8f81f07afd196a0e1b8ab0223fbbe9d7b4e003ee44130a60f"

func TestOwnLock(t *testing.T) {
	l, err := PackageSource{}.readLock()
	if err != nil {
		t.Fatal(err)
	}
	if l.String() != packagesLock {
		t.Errorf("its form differs from String:\n%s", l)
	}
	has := func(what string, is func(Package) bool) {
		if !slices.ContainsFunc(l.Packages, is) {
			t.Errorf("it lacks %s", what)
		}
	}
	for _, name := range cardPackages() {
		has(name, func(p Package) bool { return p.Name == name })
	}
	for _, g := range (Options{Later: true}).platforms() {
		has("the kernel for "+g.name, func(p Package) bool { return g.isKernel(p) && p.Architecture == g.architecture })
		for _, name := range g.packages {
			has(name+" for "+g.name, func(p Package) bool { return p.Name == name && p.Architecture == g.architecture })
		}
	}
	if _, err := (PackageSource{Suite: "trixie"}).readLock(); err == nil || !strings.Contains(err.Error(), "--relock --suite trixie") {
		t.Errorf("another suite: %v", err)
	}
}

func TestParseLock(t *testing.T) {
	head := "suite bookworm\ndated 2026-07-11T10:16:37Z\n"
	line := "package a 1 all a 5 " + goodHash + " pool/main/a/a_1_all.deb\n"
	tests := []struct{ text, wrong string }{
		{head + line, ""},
		{"# said\n\n" + head + line + strings.Replace(line, "package a", "package b", 1), ""},
		{"", "must have a suite"},
		{head, "must have a suite"},
		{line, "must have a suite"},
		{head + line + line, "line 4: packages must be sorted"},
		{head + strings.Replace(line, " all ", " arm64 ", 1) + strings.Replace(line, " all ", " armel ", 1), ""},
		{head + strings.Replace(line, " all ", " armel ", 1) + strings.Replace(line, " all ", " arm64 ", 1), "line 4: packages must be sorted"},
		{head + "package a 1 all a 5 " + goodHash, "line 3"},
		{head + "parcel a\n" + line, `line 3: "parcel" with 2 words`},
		{strings.Replace(head, "2026-07-11T10:16:37Z", "yesterday", 1) + line, "line 2: write a date"},
		{strings.Replace(head, "2026", "1970", 1) + line, "line 2: write a date"},
		{strings.Replace(head, "bookworm", "../etc", 1) + line, "line 1: this is not the name of a suite"},
		{head + strings.Replace(line, " 5 ", " 0 ", 1), "the size must be"},
		{head + strings.Replace(line, " 5 ", " 999999999999 ", 1), "the size must be"},
		{head + strings.ToUpper(goodHash), "line 3"},
		{head + strings.Replace(line, goodHash, goodHash[1:], 1), "the hash must be"},
		{head + strings.Replace(line, "pool/main/a", "pool/../../a", 1), "write a path"},
		{head + strings.Replace(line, "pool/main", "/etc", 1), "write a path"},
		{head + strings.Replace(line, "package a", "package ../a", 1), "name, architecture"},
	}
	for _, tt := range tests {
		_, err := ParseLock(tt.text)
		switch {
		case tt.wrong == "" && err != nil:
			t.Errorf("%q: %v", tt.text, err)
		case tt.wrong != "" && (!errors.Is(err, ErrBadLock) || !strings.Contains(err.Error(), tt.wrong)):
			t.Errorf("%q: %v, want %q", tt.text, err, tt.wrong)
		}
	}
}

func FuzzParseLock(f *testing.F) {
	f.Add(packagesLock)
	f.Add("suite a\ndated 2026-07-11T10:16:37Z\npackage a 1 all a 5 " + goodHash + " pool/a.deb\n")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ParseLock(text)
		if err != nil {
			return
		}
		again, err := ParseLock(l.String())
		if err != nil || again.String() != l.String() {
			t.Errorf("%q\nis written as\n%s\nand read as\n%s%v", text, l, again, err)
		}
		for _, p := range l.Packages {
			if strings.Contains(p.Path, "..") || filepath.IsAbs(p.Path) || strings.ContainsAny(p.Name, "/ ") {
				t.Errorf("package %+v", p)
			}
		}
	})
}

// Debian's cloud images name a file of mirrors.
func TestAMirrorListIsRead(t *testing.T) {
	list := filepath.Join(t.TempDir(), "debian.list")
	if err := os.WriteFile(list, []byte("# one\nhttps://m.example/debian\tpriority:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := expandMirror("mirror+file://" + list); !slices.Equal(got, []string{"https://m.example/debian"}) {
		t.Errorf("%v", got)
	}
}

func TestChoose(t *testing.T) {
	known := map[string]packageIndex{}
	for p := range parseParagraphs(strings.ReplaceAll(`Package: linux-image-rpi
Architecture: armel
Depends: linux-image-6.1.0-50-rpi (= 6.1.176-1)

Package: linux-image-6.1.0-50-rpi
Source: linux (6.1.176-1)
Version: 6.1.176-1
Architecture: armel
Size: 7
SHA256: HASH
Filename: pool/k.deb

Package: e2fsprogs
Version: 1.47.0-2+b2
Architecture: armel
Pre-Depends: libc6 (>= 2.34)
Depends: logsave
Size: 7
SHA256: HASH
Filename: pool/e.deb

Package: linux-image-armmp
Architecture: armhf
Depends: linux-image-6.1.0-50-armmp (= 6.1.176-1)

Package: linux-image-arm64
Architecture: arm64
Depends: linux-image-6.1.0-50-arm64 (= 6.1.176-1)
`, "HASH", goodHash)) {
		if known[p["Architecture"]] == nil {
			known[p["Architecture"]] = packageIndex{}
		}
		known[p["Architecture"]][p["Package"]] = p
	}
	for architecture, names := range map[string][]string{
		"armel": {"base-files", "busybox-static", "ca-certificates", "kexec-tools", "raspi-firmware", "libc6"},
		"armhf": {"linux-image-6.1.0-50-armmp", "libc6", "kexec-tools"},
		"arm64": append(arm64Platform().packages, "linux-image-6.1.0-50-arm64", "busybox-static"),
	} {
		for _, name := range names {
			known[architecture][name] = map[string]string{"Version": "1", "Architecture": architecture, "Size": "7", "SHA256": goodHash, "Filename": "pool/x.deb"}
		}
	}
	l, err := choosePackages(known, "bookworm", time.Date(2026, 7, 11, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range l.Packages {
		names = append(names, p.Name+" "+p.Architecture+" "+p.Source)
	}
	want := []string{
		"base-files armel base-files", "busybox-static armel busybox-static", "ca-certificates armel ca-certificates", "e2fsprogs armel e2fsprogs",
		"kexec-tools arm64 kexec-tools", "kexec-tools armel kexec-tools", "libc6 arm64 libc6", "libc6 armel libc6",
	}
	for _, name := range arm64Platform().packages {
		if strings.HasPrefix(name, "libxen") {
			want = append(want, name+" arm64 "+name)
		}
	}
	want = append(want, "linux-image-6.1.0-50-arm64 arm64 linux-image-6.1.0-50-arm64", "linux-image-6.1.0-50-armmp armhf linux-image-6.1.0-50-armmp",
		"linux-image-6.1.0-50-rpi armel linux", "raspi-firmware armel raspi-firmware", "zlib1g arm64 zlib1g")
	slices.Sort(want)
	if slices.Sort(names); !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	delete(known["armel"], "libc6")
	if _, err := choosePackages(known, "bookworm", time.Date(2026, 7, 11, 0, 0, 0, 0, time.UTC)); err == nil || !strings.Contains(err.Error(), "for armel: there is no libc6") {
		t.Errorf("without libc6: %v", err)
	}
}
