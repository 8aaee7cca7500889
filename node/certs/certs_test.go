package certs

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
)

// bundleFor returns a bundle as if from a CA.
func bundleFor(t testing.TB, from time.Time, lasts time.Duration, names ...string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(from.UnixNano()), DNSNames: names, NotBefore: from, NotAfter: from.Add(lasts)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := encodeBundle(key, [][]byte{der})
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

func itemFor(t testing.TB, from time.Time, lasts time.Duration, name string) *issuedCert {
	t.Helper()
	one, err := parseBundle(name, bundleFor(t, from, lasts, name))
	if err != nil {
		t.Fatal(err)
	}
	return one
}

func rackKey(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

// fakeRack is some boards in one process.
type fakeRack struct {
	mu    sync.Mutex
	all   map[string]*Manager
	dead  map[string]bool
	owner string
}

// boardOf is the RackPeers of one board.
type boardOf struct {
	*fakeRack
	self string
}

func (b boardOf) Peers() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for name := range b.all {
		if name != b.self && !b.dead[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (b boardOf) Owner(string) string { return b.owner }

func (b boardOf) Call(_ context.Context, board string, r *http.Request) (*http.Response, error) {
	b.mu.Lock()
	k, dead := b.all[board], b.dead[board]
	b.mu.Unlock()
	if k == nil || dead {
		return nil, errors.New("no such board")
	}
	w := httptest.NewRecorder()
	k.Handler().ServeHTTP(w, r)
	return w.Result(), nil
}

// newManager adds a board to the rack.
func (r *fakeRack) newManager(t testing.TB, name string, change ...func(*Config)) *Manager {
	t.Helper()
	cfg := Config{
		Self: name, RackKeys: [][]byte{rackKey(1)}, ACME: ACME{Names: []string{"a.example", "b.example"}, Directory: "https://127.0.0.1:1/dir"},
		Folder: filepath.Join(t.TempDir(), "certs"), Rack: boardOf{r, name}, SetTicketKeys: func([][32]byte) {},
		ClockSet: func() bool { return true }, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&cfg)
	}
	k, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if r.all == nil {
		r.all, r.dead = map[string]*Manager{}, map[string]bool{}
	}
	r.all[name] = k
	return k
}

func hello(name string, protos ...string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		ServerName: name, SupportedProtos: protos, SupportedVersions: []uint16{tls.VersionTLS13},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256},
	}
}

func TestTheSharedCertificateIsTheSameOnEveryBoard(t *testing.T) {
	one, err := makeSharedCertificate(rackKey(1), []string{"b.example", "*.a.example"})
	if err != nil {
		t.Fatal(err)
	}
	other, err := makeSharedCertificate(rackKey(1), []string{"*.a.example", "b.example", "b.example"})
	if err != nil {
		t.Fatal(err)
	}
	if !one.Leaf.Equal(other.Leaf) {
		t.Error("two boards with the same sites have two certificates")
	}
	if third, err := makeSharedCertificate(rackKey(2), []string{"b.example", "*.a.example"}); err != nil || third.Leaf.Equal(one.Leaf) || third.PrivateKey.(*ecdsa.PrivateKey).Equal(one.PrivateKey) {
		t.Error("another rack has the same certificate")
	}
	pool := x509.NewCertPool()
	pool.AddCert(one.Leaf)
	for _, name := range []string{"b.example", "x.a.example", "localhost", "board-1.local", "127.0.0.1", "::1"} {
		if _, err := one.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := one.Leaf.Verify(x509.VerifyOptions{DNSName: "bank.example", Roots: pool}); err == nil {
		t.Error("it is valid for a name that is not a site's")
	}
	if one.Leaf.IsCA || one.Leaf.KeyUsage&x509.KeyUsageCertSign != 0 {
		t.Error("it can sign others")
	}
}

func TestTicketKeysOverlap(t *testing.T) {
	now := time.Date(2026, 2, 28, 6, 0, 0, 0, time.UTC)
	keys := func(at time.Time, rackKeys ...[]byte) [][32]byte {
		all, err := deriveTicketKeys(rackKeys, ticketPeriodAt(at))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	today := keys(now, rackKey(1))
	for _, c := range []struct {
		name  string
		taken [][32]byte
		want  bool
	}{
		{"the same period", keys(now.Add(time.Hour), rackKey(1)), true},
		{"one later", keys(now.Add(ticketPeriod), rackKey(1)), true},
		{"on a board that is one behind", keys(now.Add(-ticketPeriod), rackKey(1)), true},
		{"two later", keys(now.Add(2*ticketPeriod), rackKey(1)), false},
		{"a board without a clock", keys(time.Unix(60, 0), rackKey(1)), false},
		{"another rack", keys(now, rackKey(2)), false},
		{"a new rack key, the old one known", keys(now, rackKey(2), rackKey(1)), true},
	} {
		if got := slices.Contains(c.taken, today[0]); got != c.want {
			t.Errorf("a ticket of today is taken: %s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestTicketKeysAreSetOncePerPeriod(t *testing.T) {
	now := time.Date(2026, 2, 28, 6, 0, 0, 0, time.UTC)
	var set int
	k := new(fakeRack).newManager(t, "board-1", func(c *Config) {
		c.Now = func() time.Time { return now }
		c.SetTicketKeys = func([][32]byte) { set++ }
	})
	for _, step := range []time.Duration{0, time.Hour, ticketPeriod, 0, -ticketPeriod} {
		now = now.Add(step)
		k.RenewTicketKeys()
	}
	if set != 3 {
		t.Errorf("keys were set %d times, want 3", set)
	}
}

func TestWhichClientGetsWhichCertificate(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, from time.Time, names ...string) Pair {
		bundle := bundleFor(t, from, 90*24*time.Hour, names...)
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, bundle, 0o600); err != nil {
			t.Fatal(err)
		}
		return Pair{path, path}
	}
	now := time.Now()
	k := new(fakeRack).newManager(t, "board-1", func(c *Config) {
		c.Files = []Pair{write("one", now, "one.example"), write("wild", now, "*.wild.example")}
	})
	if err := k.installBundle("a.example", bundleFor(t, now, time.Hour, "a.example")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"one.example": "one.example", "ONE.example.": "one.example", "x.wild.example": "*.wild.example", "a.example": "a.example",
		"": "one.example", "b.example": "one.example", "y.x.wild.example": "one.example", "wild.example": "one.example",
	} {
		got, err := k.Certificate(hello(name))
		if err != nil || got.Leaf.DNSNames[0] != want {
			t.Errorf("%q gets %v, %v, want %s", name, got.Leaf.DNSNames, err, want)
		}
		if got := k.HasCertificate(name); got != (name != "" && want != "one.example" || strings.EqualFold(strings.Trim(name, "."), "one.example")) {
			t.Errorf("%q is certified: %v", name, got)
		}
	}
	if !k.HasCertificate("a.example:8443") || k.HasCertificate("[::1]:443") || k.HasCertificate("127.0.0.1") {
		t.Error("a port or an address is not parsed correctly")
	}
	bare := new(fakeRack).newManager(t, "board-1")
	if got, err := bare.Certificate(hello("b.example")); err != nil || got != bare.shared {
		t.Errorf("without any, a name gets %v, %v", got, err)
	}
}

func TestChangedFilesAreReloadedIfGood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "one.pem")
	put := func(text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	put(bundleFor(t, now, time.Hour, "one.example"))
	var log bytes.Buffer
	k := new(fakeRack).newManager(t, "board-1", func(c *Config) {
		c.Files, c.Logger = []Pair{{path, path}}, slog.New(slog.NewTextHandler(&log, nil))
	})
	is := func() *x509.Certificate {
		cert, err := k.Certificate(hello("one.example"))
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf
	}
	first := is()
	put([]byte("nonsense"))
	k.reloadFiles()
	k.reloadFiles()
	if !is().Equal(first) || strings.Count(log.String(), "the old certificate stays") != 1 {
		t.Errorf("after nonsense: log %q", log.String())
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	k.reloadFiles()
	k.reloadFiles()
	if !is().Equal(first) || strings.Count(log.String(), "the old certificate stays") != 2 {
		t.Errorf("after it went: log %q", log.String())
	}
	put(bundleFor(t, now.Add(time.Minute), time.Hour, "one.example", "two.example"))
	k.reloadFiles()
	if is().Equal(first) || !k.HasCertificate("two.example") {
		t.Error("the new one is not there")
	}
	if notices := k.Notices(); len(notices) != 1 || !strings.Contains(notices[0], path) {
		t.Errorf("of a certificate that ends in an hour is said: %q", notices)
	}
}

func TestMistakesInFilesAreErrors(t *testing.T) {
	dir := t.TempDir()
	good, other, nameless := filepath.Join(dir, "good"), filepath.Join(dir, "other"), filepath.Join(dir, "nameless")
	for path, names := range map[string][]string{good: {"a.example"}, other: {"a.example"}, nameless: nil} {
		if err := os.WriteFile(path, bundleFor(t, time.Now(), time.Hour, names...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		pair Pair
		says string
	}{
		{Pair{filepath.Join(dir, "none"), good}, "none"},
		{Pair{good, other}, "private key does not match"},
		{Pair{nameless, nameless}, "names no host"},
	} {
		_, err := New(Config{RackKeys: [][]byte{rackKey(1)}, Files: []Pair{c.pair}, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v", c.pair, err)
		}
	}
}

func TestStoredCertificatesSurviveARestart(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "certs")
	with := func(c *Config) { c.Folder = folder }
	now := time.Now()
	first := new(fakeRack).newManager(t, "board-1", with)
	if err := first.installBundle("a.example", bundleFor(t, now, time.Hour, "a.example")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "b.example.pem"), []byte("half of"), 0o600); err != nil {
		t.Fatal(err)
	}
	second := new(fakeRack).newManager(t, "board-1", with)
	if !second.HasCertificate("a.example") || second.HasCertificate("b.example") {
		t.Error("a stored certificate is missing, or a damaged one is used")
	}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm() != 0o600 || strings.HasPrefix(d.Name(), ".new") {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	// A card that cannot be written costs nothing but the file.
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if err := second.installBundle("b.example", bundleFor(t, now, time.Hour, "b.example")); err != nil || !second.HasCertificate("b.example") {
		t.Errorf("without a card: %v", err)
	}
}

func TestTheNewestCertificateWinsInAnyOrder(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	old, new1, new2 := itemFor(t, now, time.Hour, "a.example"), itemFor(t, now.Add(time.Minute), time.Hour, "a.example"), itemFor(t, now.Add(time.Minute), 2*time.Hour, "a.example")
	twin := itemFor(t, now, time.Hour, "a.example")
	for _, c := range []struct {
		name       string
		one, other *issuedCert
	}{{"later", new1, old}, {"longer", new2, new1}} {
		if !c.one.supersedes(c.other) || c.other.supersedes(c.one) {
			t.Error(c.name)
		}
	}
	if !old.supersedes(nil) || old.supersedes(old) || old.supersedes(twin) == twin.supersedes(old) {
		t.Error("of two similar certificates not exactly one wins")
	}
}

func TestBoardsPullMissingCertificates(t *testing.T) {
	rack := new(fakeRack)
	one, two := rack.newManager(t, "board-1"), rack.newManager(t, "board-2")
	now := time.Now()
	bundle := bundleFor(t, now, time.Hour, "a.example")
	if err := one.installBundle("a.example", bundle); err != nil {
		t.Fatal(err)
	}
	if missed := one.sendToPeers(t.Context(), http.MethodPut, certPath+"a.example", bundle); len(missed) > 0 || !two.HasCertificate("a.example") {
		t.Errorf("missed %v", missed)
	}
	three := rack.newManager(t, "board-3")
	if missed := three.pullMissing(t.Context()); len(missed) > 0 || !three.HasCertificate("a.example") {
		t.Errorf("missed %v", missed)
	}
	rack.dead["board-2"] = true
	if missed := one.sendToPeers(t.Context(), http.MethodPut, certPath+"a.example", bundle); len(missed) > 0 {
		t.Errorf("the same again is refused by %v", missed)
	}
	for path, body := range map[string][]byte{
		certPath + "c.example":                bundleFor(t, now, time.Hour, "c.example"), // no name of this rack
		certPath + "b.example":                bundle,                                    // of another name
		certPath + "a.example":                append(bytes.Repeat([]byte(" "), maxBundle), bundle...),
		challengePath + "token":               []byte("other.thumb"),
		challengePath + "alpn:x":              []byte("x"),
		challengePath + "..%2F..%2Fa":         []byte("x"),
		certPath + "..%2F..%2Fetc%2Fpasswd.x": bundle,
	} {
		if _, err := one.callPeer(t.Context(), "board-3", http.MethodPut, path, body, 0); err == nil {
			t.Errorf("%s is taken", path)
		}
	}
	old := bundleFor(t, now.Add(-time.Minute), 2*time.Hour, "a.example")
	if _, err := one.callPeer(t.Context(), "board-3", http.MethodPut, certPath+"a.example", old, 0); err != nil {
		t.Errorf("old news is an error: %v", err)
	}
	if got := three.store.get("a.example"); !bytes.Equal(got.bundle, bundle) {
		t.Error("an older certificate has replaced a newer one")
	}
}

func TestChallengesAreAnsweredOnAllBoards(t *testing.T) {
	rack := new(fakeRack)
	one, two := rack.newManager(t, "board-1"), rack.newManager(t, "board-2")
	key, err := deriveKey(rackKey(1), "account at a CA")
	if err != nil {
		t.Fatal(err)
	}
	client := &acme.Client{Key: key}
	look := func(k *Manager, path string) string {
		w := httptest.NewRecorder()
		if !k.AnswerChallenge(w, httptest.NewRequest("GET", path, nil)) {
			return ""
		}
		return w.Body.String()
	}
	for _, kind := range []string{"http-01", "tls-alpn-01"} {
		key, shown, wire, err := prepareChallenge(client, "a.example", &acme.Challenge{Type: kind, Token: "token-1"})
		if err != nil {
			t.Fatal(err)
		}
		one.issuer.publishChallenge(t.Context(), key, shown, wire)
		for _, k := range []*Manager{one, two} {
			switch text := look(k, WellKnown+"token-1"); kind {
			case "http-01":
				if !strings.HasPrefix(text, "token-1.") || look(k, WellKnown+"token-2") != "" || look(k, WellKnown+"alpn:a.example") != "" || look(k, "/") != "" {
					t.Errorf("it answers %q", text)
				}
			default:
				cert, err := k.Certificate(hello("A.example", alpnProto))
				if err != nil || cert.Leaf.DNSNames[0] != "a.example" || text != "" {
					t.Errorf("it shows %v, %v; %q", cert, err, text)
				}
				if _, err := k.Certificate(hello("b.example", alpnProto)); !errors.Is(err, ErrNoChallenge) {
					t.Errorf("for another name: %v", err)
				}
			}
		}
		one.issuer.withdrawChallenge(t.Context(), key)
		if _, there := two.challenges.get(key); there || look(one, WellKnown+"token-1") != "" {
			t.Error("it is answered after it is withdrawn")
		}
	}
}

func TestChallengesAreBounded(t *testing.T) {
	now := time.Now()
	c := newChallenges(func() time.Time { return now })
	for i := range maxChallenges {
		if err := c.put(fmt.Sprint(i), challenge{text: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.put("more", challenge{}); !errors.Is(err, errFull) {
		t.Errorf("one more: %v", err)
	}
	now = now.Add(challengeLifetime + time.Second)
	if _, there := c.get("1"); there {
		t.Error("it is there after its lifetime")
	}
	if err := c.put("more", challenge{}); err != nil {
		t.Errorf("when all are over: %v", err)
	}
}

func TestRenewalTime(t *testing.T) {
	from := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct{ lasts, earliest, latest time.Duration }{
		{90 * 24 * time.Hour, 60 * 24 * time.Hour, 63 * 24 * time.Hour},
		{6 * 24 * time.Hour, 4 * 24 * time.Hour, 4*24*time.Hour + 5*time.Hour},
		{30 * time.Second, 20 * time.Second, 21 * time.Second},
	} {
		seen := map[time.Time]bool{}
		for i := range 20 {
			at := renewalTime(fmt.Sprintf("%d.example", i), &x509.Certificate{NotBefore: from, NotAfter: from.Add(c.lasts)})
			if at.Before(from.Add(c.earliest)) || at.After(from.Add(c.latest)) {
				t.Errorf("one of %v is renewed after %v", c.lasts, at.Sub(from))
			}
			seen[at] = true
		}
		if len(seen) < 15 {
			t.Errorf("20 names of %v are renewed at %d moments", c.lasts, len(seen))
		}
	}
}

func TestBackoffGrows(t *testing.T) {
	refused := fmt.Errorf("x: %w", &acme.AuthorizationError{})
	limited := &acme.Error{ProblemType: "urn:ietf:params:acme:error:rateLimited", Header: http.Header{"Retry-After": {"7200"}}}
	for _, c := range []struct {
		failures int
		err      error
		want     time.Duration
	}{
		{1, errors.New("no network"), time.Minute}, {2, errors.New("x"), 2 * time.Minute}, {50, errors.New("x"), time.Hour},
		{1, refused, 10 * time.Minute}, {2, refused, time.Hour}, {3, refused, 6 * time.Hour}, {50, refused, 6 * time.Hour},
		{1, limited, 2 * time.Hour},
	} {
		if got := retryDelay(c.failures, c.err); got.Round(time.Second) != c.want {
			t.Errorf("after %d failures, the last %v: %v, want %v", c.failures, c.err, got, c.want)
		}
	}
	// Let's Encrypt bears five failed looks of a name an hour; a try may be two.
	if tries := 1 + int(time.Hour/(minRefusedDelay+maxRefusedDelay)) + 1; 2*tries > 5 {
		t.Errorf("%d looks an hour", 2*tries)
	}
}

func TestWhichBoardOrders(t *testing.T) {
	now := time.Now()
	rack := &fakeRack{owner: "board-1"}
	clock := true
	k := rack.newManager(t, "board-1", func(c *Config) { c.ClockSet = func() bool { return clock } })
	isDue := func(after time.Duration) bool { return k.issuer.isDue("a.example", now.Add(after)) }
	if isDue(0) || !isDue(minOwnership) {
		t.Error("the owner must order after minOwnership, and not before")
	}
	clock = false
	if isDue(2 * minOwnership) {
		t.Error("it orders without a clock")
	}
	clock = true
	rack.owner = "board-2"
	if isDue(3 * minOwnership) {
		t.Error("a board that is not the owner orders")
	}
	if notices := k.Notices(); len(notices) != 1 || notices[0] != "a.example has no certificate yet: board-2 is ordering one from the CA." {
		t.Errorf("notices are %q", notices)
	}
	rack.owner = "board-1"
	if isDue(4*minOwnership) || !isDue(5*minOwnership) {
		t.Error("a new owner must wait")
	}
	k.issuer.recordResult("a.example", errors.New("dial: no route"), now.Add(5*minOwnership))
	if isDue(6*minOwnership) || !isDue(5*minOwnership+time.Minute) {
		t.Error("it does not wait after a failure")
	}
	if notices := k.Notices(); len(notices) != 1 || !strings.Contains(notices[0], "dial: no route") || !strings.Contains(notices[0], "The next attempt is at") {
		t.Errorf("notices are %q", notices)
	}
	k.issuer.recordResult("a.example", nil, now)
	if err := k.installBundle("a.example", bundleFor(t, now, time.Hour, "a.example")); err != nil {
		t.Fatal(err)
	}
	if isDue(7 * minOwnership) {
		t.Error("it orders what it has")
	}
	k.cfg.Now = func() time.Time { return now.Add(45 * time.Minute) }
	if !isDue(7 * minOwnership) {
		t.Error("it does not renew")
	}
}

func TestAdviceSaysWhatToDo(t *testing.T) {
	for want, err := range map[string]error{
		"DNS entry":           fmt.Errorf("x: %w", &acme.AuthorizationError{Identifier: "a.example"}),
		"[tls] acme_domains":  &acme.Error{ProblemType: "urn:ietf:params:acme:error:rejectedIdentifier"},
		"it continues":        &acme.Error{ProblemType: "urn:ietf:params:acme:error:rateLimited"},
		"internet connection": errors.New("no route"),
	} {
		if got := adviceFor(err); !strings.Contains(got, want) {
			t.Errorf("of %v: %q", err, got)
		}
	}
}

// The account's key and the shared certificate must not change with a new version of
// Bramble: browsers and the CA know them.
func TestDerivedKeysStayAsTheyAre(t *testing.T) {
	for purpose, want := range map[string]string{
		"shared certificate": "41f9329472d45eb2",
		"account at a CA":    "9951fe9ff6cfb634",
	} {
		key, err := deriveKey(rackKey(7), purpose)
		if err != nil {
			t.Fatal(err)
		}
		public, err := key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", public[1:9]); got != want {
			t.Errorf("the key of the %s begins with %s, was %s", purpose, got, want)
		}
	}
}
