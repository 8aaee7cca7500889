package images

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// packagesLock is the lock that comes with the program.
//
//go:embed packages.lock
var packagesLock string

// Lock pins the Debian packages of a card. No other package goes onto the card, and
// a package with another hash is refused.
type Lock struct {
	Suite    string    // such as "bookworm"
	Dated    time.Time // of the mirror's index; also the date of the card's files
	Packages []Package // sorted by name, and by architecture
}

// Package is one pinned package.
type Package struct {
	Name, Version string
	Architecture  string // "armel", "armhf", "arm64" or "all"
	Source        string // the source package, for those who want the source
	Bytes         int64
	SHA256        string // hex, lower case
	Path          string // under the mirror, such as "pool/main/…"
}

// ErrBadLock matches the error of a lock file that cannot be used.
var ErrBadLock = errors.New("the list of packages is not valid")

// maxPackages and maxPackage limit a lock: a card has some two dozen packages, and
// the largest, the 64-bit kernel, has 60 MB.
const (
	maxPackages = 100
	maxPackage  = 200_000_000 // bytes
)

// ParseLock reads a lock file. Its lines are "suite NAME", "dated TIME" and "package
// NAME VERSION ARCHITECTURE SOURCE BYTES SHA256 PATH"; # begins a comment. Its error
// matches ErrBadLock and names the line.
func ParseLock(text string) (Lock, error) {
	var l Lock
	n := 0
	for line := range strings.Lines(text) {
		n++
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if problem := l.addLine(words); problem != "" {
			return Lock{}, fmt.Errorf("%w: line %d: %s", ErrBadLock, n, problem)
		}
	}
	if l.Suite == "" || l.Dated.IsZero() || len(l.Packages) == 0 {
		return Lock{}, fmt.Errorf("%w: it must have a suite, a date and packages", ErrBadLock)
	}
	return l, nil
}

// addLine adds one line, given as its words, or returns the problem with it.
func (l *Lock) addLine(words []string) (problem string) {
	switch {
	case words[0] == "suite" && len(words) == 2:
		if !isDebianName(words[1]) {
			return "this is not the name of a suite"
		}
		l.Suite = words[1]
	case words[0] == "dated" && len(words) == 2:
		at, err := time.Parse(time.RFC3339, words[1])
		// A FAT file system counts its years from 1980 to 2107.
		if err != nil || at.Year() < 1980 || at.Year() > 2107 {
			return "write a date such as 2026-07-11T09:00:00Z"
		}
		l.Dated = at.UTC()
	case words[0] == "package" && len(words) == 8:
		return l.addPackage(words[1:])
	default:
		return fmt.Sprintf("%q with %d words is unknown", words[0], len(words))
	}
	return ""
}

func (l *Lock) addPackage(w []string) (problem string) {
	size, err := strconv.ParseInt(w[4], 10, 64)
	p := Package{Name: w[0], Version: w[1], Architecture: w[2], Source: w[3], Bytes: size, SHA256: w[5], Path: w[6]}
	switch {
	case len(l.Packages) == maxPackages:
		return fmt.Sprintf("more than %d packages", maxPackages)
	case !isDebianName(p.Name) || !isDebianName(p.Architecture) || !isDebianName(p.Source):
		return "name, architecture and source must consist of lower-case letters, digits and + - ."
	case err != nil || size <= 0 || size > maxPackage:
		return fmt.Sprintf("the size must be 1 to %d bytes", maxPackage)
	case !matchesPattern(`[0-9a-f]{64}`, p.SHA256):
		return "the hash must be 64 hex digits"
	case !matchesPattern(`pool(/[A-Za-z0-9+.~_-]+)+\.deb`, p.Path) || strings.Contains(p.Path, ".."):
		return "write a path such as pool/main/b/busybox/busybox_1_armel.deb"
	case len(l.Packages) > 0 && comparePackages(l.Packages[len(l.Packages)-1], p) >= 0:
		return "packages must be sorted by name and architecture, each once"
	}
	l.Packages = append(l.Packages, p)
	return ""
}

// comparePackages orders a lock. One name may be there for several architectures.
func comparePackages(a, b Package) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Architecture, b.Architecture))
}

// isDebianName reports whether s is a package name by Debian's rules.
func isDebianName(s string) bool { return matchesPattern(`[a-z0-9][a-z0-9+.-]*`, s) }

func matchesPattern(pattern, s string) bool {
	return regexp.MustCompile(`\A(?:` + pattern + `)\z`).MatchString(s)
}

// String returns the lock in the form that ParseLock reads.
func (l Lock) String() string {
	var b strings.Builder
	b.WriteString(`# The Debian packages of a card. Written by "bramble image --relock".
# package NAME VERSION ARCHITECTURE SOURCE BYTES SHA256 PATH
`)
	fmt.Fprintf(&b, "suite %s\ndated %s\n", l.Suite, l.Dated.UTC().Format(time.RFC3339))
	for _, p := range l.Packages {
		fmt.Fprintf(&b, "package %s %s %s %s %d %s %s\n", p.Name, p.Version, p.Architecture, p.Source, p.Bytes, p.SHA256, p.Path)
	}
	return b.String()
}

// readLock reads the lock that the options name, or else the program's own.
func (p PackageSource) readLock() (Lock, error) {
	text, name := packagesLock, "the program's own list"
	if p.Lock != "" {
		b, err := os.ReadFile(p.Lock)
		if err != nil {
			return Lock{}, fmt.Errorf("reading the list of packages: %w", err)
		}
		text, name = string(b), p.Lock
	}
	l, err := ParseLock(text)
	if err != nil {
		return Lock{}, fmt.Errorf("%s: %w", name, err)
	}
	if p.Suite != "" && p.Suite != l.Suite {
		return Lock{}, fmt.Errorf("%s is for Debian %s, not %s: run \"bramble image --relock --suite %s --lock FILE\", then build with that --lock",
			name, l.Suite, p.Suite, p.Suite)
	}
	return l, nil
}
