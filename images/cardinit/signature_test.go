package cardinit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// ownerKey is the update key of the tests' cards.
var ownerKey = sync.OnceValues(NewUpdateKey)

func testOwners() []string {
	_, public := ownerKey()
	return []string{public}
}

// loadOwners is a Config.Load with the tests' key.
func loadOwners(string, string) (CardSettings, error) {
	return CardSettings{UpdateKeys: testOwners()}, nil
}

func openTestSlots(t *testing.T, m System, p Paths) *Slots {
	t.Helper()
	s, err := OpenSlots(m, p, testOwners())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// statementOf returns the statement about one slot's files. The versions of the tests were
// released one day after the other.
func statementOf(m SlotManifest) Statement {
	days := map[string]int{"old": 1, "new": 2, "newer": 3, "newest": 4}
	return Statement{Version: m.Version, Released: time.Date(2026, 11, days[m.Version], 0, 0, 0, 0, time.UTC), Files: m.Files}
}

func signWith(private []byte, s Statement) string {
	signed, err := s.Sign(private)
	if err != nil {
		panic(err)
	}
	return signed
}

func signManifest(m SlotManifest) string {
	private, _ := ownerKey()
	return signWith(private, statementOf(m))
}

// A board accepts what its owner has signed, and refuses everything else before it writes
// anything, with the reason.
func TestOnlySignedUpdatesAreAccepted(t *testing.T) {
	own, public := ownerKey()
	strange, _ := NewUpdateKey()
	m := manifestOf("new", "b")
	good := signManifest(m)
	signature, statement, _ := strings.Cut(good, "\n")
	asOwners := func(signed string) string { // a stranger's statement that names the owner's key
		signature, text, _ := strings.Cut(signed, "\n")
		s := Statement{}
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		return signature + "\n" + strings.Replace(text, s.Key, public, 1)
	}
	otherPurpose := statementOf(m)
	for name, tt := range map[string]struct{ signed, reason string }{
		"unsigned":                    {"", "it is not signed"},
		"a signature alone":           {signature + "\n", "it is not signed"},
		"a statement alone":           {"\n" + statement, "changed after it was signed"},
		"re-signed by a stranger":     {signWith(strange, statementOf(m)), "no key under [update] keys"},
		"a stranger's under our name": {asOwners(signWith(strange, statementOf(m))), "changed after it was signed"},
		"another version":             {strings.Replace(good, `"version": "new"`, `"version": "old"`, 1), "changed after it was signed"},
		"another hash":                {strings.Replace(good, m.Files[0].SHA256, m.Files[1].SHA256, 1), "changed after it was signed"},
		"truncated":                   {good[:len(good)-10], "it is not signed"},
		"a byte more":                 {good + " ", "changed after it was signed"},
		"another purpose":             {strings.Replace(good, statementFormat, "bramble settings 1", 1), "it is not signed"},
		"no key":                      {strings.Replace(good, public, "", 1), "no key under [update] keys"},
		"of nothing":                  {signWith(own, Statement{Version: "new", Released: otherPurpose.Released}), "is missing"},
	} {
		p, system := newTestCard(t)
		writeFiles(t, p.Boot, map[string]string{"b/" + VersionFile: "older\n"})
		s := openTestSlots(t, system, p)
		_, err := s.Begin(tt.signed)
		if err == nil || !strings.Contains(err.Error(), tt.reason) || !errors.Is(err, ErrNotAccepted) && name != "of nothing" {
			t.Errorf("%s: %v, want %q", name, err, tt.reason)
		}
		if n := len(system.commandsWith("remount")); n > 0 || s.readVersion("b") != "older" {
			t.Errorf("%s: the card was touched", name)
		}
		if s, err = OpenSlots(system, p, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Begin(good); !errors.Is(err, ErrNotAccepted) {
			t.Errorf("a card without keys: %v", err)
		}
	}
}

// A file that was not signed is refused as it arrives, and one that is replaced on the card
// after it was verified is found before the slot is sealed, and again before it is tried.
func TestReplacedFilesAreFound(t *testing.T) {
	p, system := newTestCard(t)
	s := openTestSlots(t, system, p)
	m := manifestOf("new", "b")
	missing, err := s.Begin(signManifest(m))
	if err != nil {
		t.Fatal(err)
	}
	evil := []byte("kernel of eve")
	sum := sha256.Sum256(evil)
	if err := s.Put(SlotFile{KernelFile, int64(len(evil)), hex.EncodeToString(sum[:])}, bytes.NewReader(evil)); !errors.Is(err, ErrRefused) {
		t.Errorf("a kernel that was not signed: %v", err)
	}
	for _, f := range missing {
		if err := s.Put(f, strings.NewReader(slotContent("new", "b")[f.Name])); err != nil {
			t.Fatal(err)
		}
	}
	init := &cardInit{Config: Config{System: system, Paths: p, Load: loadOwners}, params: KernelParams{Slot: "a"}, log: newLogRing(p)}
	file := filepath.Join(p.Boot, "b", KernelFile)
	replace := func(content string) {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	replace(string(evil))
	if err := s.Seal("new"); !errors.Is(err, ErrNotNow) {
		t.Errorf("a kernel that was replaced was sealed: %v", err)
	}
	replace(slotContent("new", "b")[KernelFile])
	if err := s.Seal("newer"); !errors.Is(err, ErrNotNow) {
		t.Errorf("another version than the one that was begun was sealed: %v", err)
	}
	if err := s.Seal("new"); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(missing[0], strings.NewReader(slotContent("new", "b")[missing[0].Name])); !errors.Is(err, ErrNotNow) {
		t.Errorf("a file of a sealed slot can be replaced: %v", err)
	}
	if _, err := init.openForTrial(); err != nil {
		t.Errorf("the genuine version is not tried: %v", err)
	}
	replace(string(evil))
	if err := init.startTrial(); !errors.Is(err, ErrNotNow) || len(system.commandsWith("kexec")) > 0 {
		t.Errorf("a kernel that was replaced after it was verified is tried: %v", err)
	}
	replace(slotContent("new", "b")[KernelFile])
	private, _ := NewUpdateKey()
	writeFiles(t, p.Boot, map[string]string{"b/" + SignatureFile: signWith(private, statementOf(m))})
	if err := init.startTrial(); !errors.Is(err, ErrNotAccepted) || len(system.commandsWith("kexec")) > 0 {
		t.Errorf("a slot whose signature was replaced is tried: %v", err)
	}
}

// A card does not go back to an older version, unless its owner has signed that for the
// version that it runs. A trial that fails is no downgrade.
func TestDowngradesNeedTheOwner(t *testing.T) {
	own, _ := ownerKey()
	p, system := newTestCard(t)
	for _, version := range []string{"new", "newest"} {
		if err := updateTo(t, system, p, version); err != nil {
			t.Fatal(err)
		}
	}
	s := openTestSlots(t, system, p) // slot a runs newest, and slot b has new
	older := statementOf(manifestOf("newer", "b"))
	allowed := func(replaces time.Time) string {
		s := older
		s.Replaces = replaces
		return signWith(own, s)
	}
	newest := statementOf(SlotManifest{Version: "newest"}).Released
	if floor := s.readReleased(); !floor.Equal(newest) {
		t.Errorf("the floor is %v", floor)
	}
	for name, tt := range map[string]struct {
		signed string
		ok     bool
	}{
		"older":                      {signWith(own, older), false},
		"allowed for an older floor": {allowed(newest.Add(-time.Second)), false},
		"allowed":                    {allowed(newest), true},
		"the same again":             {signManifest(manifestOf("newest", "b")), true},
	} {
		_, err := s.OpenSigned(tt.signed)
		if tt.ok && err != nil || !tt.ok && (!errors.Is(err, ErrNotAccepted) || !strings.Contains(err.Error(), "--allow-downgrade")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The other slot still has the signed version of before, and nobody can have it tried.
	if err := s.Seal("new"); !errors.Is(err, ErrNotAccepted) {
		t.Errorf("the older version of the other slot can be tried: %v", err)
	}
	// The trial of a newer version fails: the board starts newest again, and takes the next one.
	if _, err := s.Begin(signManifest(manifestOf("newest", "b"))); err != nil {
		t.Errorf("after a failed trial: %v", err)
	}
}

// The signature of a real slot can be verified without Bramble.
func TestOpenSSLVerifiesASlot(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl")
	}
	own, public := ownerKey()
	dir := t.TempDir()
	signature, statement, _ := strings.Cut(signWith(own, statementOf(manifestOf("new", "b"))), "\n")
	writeFiles(t, dir, map[string]string{
		"statement": statement, "signature.b64": signature + "\n",
		"update.pem": "-----BEGIN PUBLIC KEY-----\n" + public + "\n-----END PUBLIC KEY-----\n", "update.key": string(own),
	})
	run := func(args ...string) string {
		c := exec.CommandContext(t.Context(), openssl, args...)
		c.Dir = dir
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("openssl %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	run("base64", "-d", "-in", "signature.b64", "-out", "signature")
	run("pkeyutl", "-verify", "-pubin", "-inkey", "update.pem", "-rawin", "-in", "statement", "-sigfile", "signature")
	if got := run("pkey", "-in", "update.key", "-pubout"); !strings.Contains(strings.ReplaceAll(got, "\n", ""), public) {
		t.Errorf("openssl reads another public key from the private one: %s", got)
	}
	run("genpkey", "-algorithm", "ed25519", "-out", "made.pem")
	made, err := os.ReadFile(filepath.Join(dir, "made.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if s := statementOf(manifestOf("new", "b")); signWith(made, s) == "" {
		t.Error("a key that openssl made does not sign")
	}
	run("genpkey", "-algorithm", "rsa", "-out", "rsa.pem")
	rsa, err := os.ReadFile(filepath.Join(dir, "rsa.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, private := range [][]byte{rsa, nil, []byte("no key")} {
		s := statementOf(manifestOf("new", "b"))
		if _, err := s.Sign(private); err == nil || !strings.Contains(err.Error(), "bramble key --update") {
			t.Errorf("a key that is none: %v", err)
		}
	}
}

// The release key is empty, or an ed25519 key; and the tree has no private one.
func TestReleaseKey(t *testing.T) {
	if ReleaseKey != "" && (!strings.HasPrefix(ReleaseKey, publicHead) || len(ReleaseKey) != 60) {
		t.Errorf("the release key is %q", ReleaseKey)
	}
}

// The API refuses with 403, and says why, before the update begins.
func TestAPIChecksSignatures(t *testing.T) {
	p, system := newTestCard(t)
	server := httptest.NewServer(openTestSlots(t, system, p).Handler(&fakeBoard{}))
	defer server.Close()
	ask := func(path string, m SlotManifest) (int, string) {
		t.Helper()
		body, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Post(server.URL+path, "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var text bytes.Buffer
		if _, err := text.ReadFrom(resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, text.String()
	}
	m := manifestOf("new", "b")
	for _, path := range []string{"/check", "/begin"} {
		if code, text := ask(path, m); code != http.StatusForbidden || !strings.Contains(text, "not signed") {
			t.Errorf("%s of an unsigned version: %d, %s", path, code, text)
		}
	}
	m.Signature = signManifest(m)
	if code, text := ask("/check", m); code != http.StatusNoContent || len(system.commandsWith("remount")) > 0 {
		t.Errorf("the check of a signed version: %d, %s", code, text)
	}
	if code, text := ask("/begin", m); code != http.StatusOK {
		t.Errorf("a signed version: %d, %s", code, text)
	}
}

func FuzzOpenSigned(f *testing.F) {
	good := signManifest(manifestOf("new", "b"))
	f.Add(good)
	f.Add("\n{}")
	f.Add(strings.Replace(good, "{", "[", 1))
	s := &Slots{running: "a", owners: testOwners()}
	f.Fuzz(func(t *testing.T, signed string) {
		if _, err := s.OpenSigned(signed); err == nil && signed != good {
			t.Errorf("accepted: %q", signed)
		}
	})
}
