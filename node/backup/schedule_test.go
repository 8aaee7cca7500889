package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/age"
	"golang.org/x/net/webdav"
)

// anotherDisk is a folder on another file system than the tests' folders.
const anotherDisk = "/proc"

// newTestSchedule returns a schedule, and the flag that makes its source fail.
func newTestSchedule(t *testing.T, change func(*ScheduleConfig)) (*Schedule, *atomic.Bool) {
	t.Helper()
	owner, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	broken := new(atomic.Bool)
	from := sourceOf(newTestBook(t, 20))
	cfg := ScheduleConfig{
		Recipients: []string{owner.Recipient().String()}, Interval: time.Hour, Keep: 3, OrdersDir: anotherDisk,
		Ledger: func() string { return "0123456789abcdef" }, Leading: func() bool { return true }, Now: time.Now,
		Logger: slog.New(slog.DiscardHandler),
		Source: func(ctx context.Context, to io.Writer) error {
			if broken.Load() {
				return errors.New("no majority")
			}
			return from(ctx, to)
		},
	}
	change(&cfg)
	s, err := NewSchedule(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s, broken
}

func backupsIn(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestScheduleToAFolder(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"notes.txt": "mine", "bramble-ffffffffffffffff-20000101T000000Z.age": "another rack's", "bramble-0123456789abcdef-19991231T000000Z.age.part": "cut off",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s, _ := newTestSchedule(t, func(cfg *ScheduleConfig) { cfg.Directory = dir })
		run := func(s *Schedule, d time.Duration) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { s.Run(ctx); close(done) }()
			time.Sleep(d)
			cancel()
			<-done
		}
		run(s, time.Minute)
		if all := backupsIn(t, dir); len(all) != 3 { // the cut-off one is gone
			t.Fatalf("after a minute: %v", all)
		}
		if status := s.Status()[0]; status.LastSuccess == nil || status.Bytes == 0 || status.Failures != 0 || s.Notices("a") != nil {
			t.Errorf("%+v, %v", status, s.Notices("a"))
		}
		run(s, 6*time.Hour)
		if all := backupsIn(t, dir); len(all) != 5 { // three, and two that are not its own
			t.Errorf("after six hours: %v", all)
		}
		// After a restart the newest file counts.
		newest := backupsIn(t, dir)[3]
		s, broken := newTestSchedule(t, func(cfg *ScheduleConfig) { cfg.Directory = dir })
		run(s, 10*time.Minute)
		if all := backupsIn(t, dir); all[3] != newest {
			t.Errorf("after a restart: %v", all)
		}
		broken.Store(true)
		run(s, 3*time.Hour)
		status := s.Status()[0]
		if tries := int64(2 * time.Hour / retryDelay); status.Failures < tries || status.Failures > 2*tries || status.Error != "writing "+filepath.Join(dir, status.Error[len("writing ")+len(dir)+1:strings.Index(status.Error, ": ")])+": no majority" {
			t.Errorf("%+v", status)
		}
		if notices := s.Notices("board-1"); len(notices) != 1 || !strings.Contains(notices[0], "board-1 failed") || !strings.Contains(notices[0], "no majority") {
			t.Errorf("%v", notices)
		}
		broken.Store(false)
		run(s, retryDelay+time.Minute)
		if s.Notices("board-1") != nil {
			t.Errorf("after a success: %v", s.Notices("board-1"))
		}
	})
}

// A stick that comes back gets its backup at the next look, and one that is missing counts once.
func TestScheduleWaitsForItsFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "stick")
	s, _ := newTestSchedule(t, func(cfg *ScheduleConfig) { cfg.Directory = dir })
	for range 3 {
		s.runTarget(t.Context(), s.targets[0])
	}
	if notices := s.Notices("a"); s.Status()[0].Failures != 1 || len(notices) != 1 || !strings.Contains(notices[0], "every "+checkInterval.String()) {
		t.Errorf("%+v, %v", s.Status()[0], notices)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s.runTarget(t.Context(), s.targets[0])
	if status := s.Status()[0]; status.LastSuccess == nil || status.Error != "" || len(backupsIn(t, dir)) != 1 {
		t.Errorf("%+v, %v", status, backupsIn(t, dir))
	}
}

// A stick that is full of backups has room again once keep is smaller.
func TestOldBackupsAreRemovedBeforeTheNext(t *testing.T) {
	dir := t.TempDir()
	for _, day := range []string{"01", "02", "03", "04", "05"} {
		if err := os.WriteFile(filepath.Join(dir, "bramble-0123456789abcdef-200001"+day+"T000000Z.age"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, broken := newTestSchedule(t, func(cfg *ScheduleConfig) { cfg.Directory = dir })
	broken.Store(true)
	if s.runTarget(t.Context(), s.targets[0]); len(backupsIn(t, dir)) != 3 {
		t.Errorf("%v", backupsIn(t, dir))
	}
}

func TestDescribeDisk(t *testing.T) {
	for err, want := range map[error]string{syscall.ENOSPC: "remove files there", syscall.EROFS: "protected", syscall.EIO: "pulled out", ErrDamaged: ErrDamaged.Error()} {
		if got := describeDisk(fmt.Errorf("writing: %w", err)); !errors.Is(got, err) || !strings.Contains(got.Error(), want) {
			t.Errorf("%v: %v", err, got)
		}
	}
	if describeDisk(nil) != nil {
		t.Error("an error of nothing")
	}
}

func TestScheduleRefusesFolders(t *testing.T) {
	dir := t.TempDir()
	for name, tt := range map[string]struct{ directory, orders, want string }{
		"not there":     {filepath.Join(dir, "stick"), anotherDisk, "plug in and mount the stick"},
		"the same disk": {dir, t.TempDir(), "same disk as the orders"},
	} {
		s, _ := newTestSchedule(t, func(cfg *ScheduleConfig) { cfg.Directory, cfg.OrdersDir = tt.directory, tt.orders })
		if onSameDisk(dir, anotherDisk) || !onSameDisk(dir, dir) {
			t.Skip("this system does not tell file systems apart")
		}
		s.runTarget(t.Context(), s.targets[0])
		if status := s.Status()[0]; !strings.Contains(status.Error, tt.want) {
			t.Errorf("%s: %+v", name, status)
		}
	}
	if s, err := NewSchedule(ScheduleConfig{}); s != nil || err != nil || len(s.Status()) != 0 || s.Notices("a") != nil {
		t.Errorf("without a destination: %v, %v", s, err)
	}
	if _, err := NewSchedule(ScheduleConfig{URL: "http://nas.example", Recipients: []string{"age1"}}); !errors.Is(err, ErrConfig) {
		t.Errorf("%v", err)
	}
}

// newWebDAV returns a server, x/net's WebDAV with a password, and its folder. changed, if not
// nil, changes what GET answers.
func newWebDAV(t *testing.T, changed func([]byte) []byte) (base, dir string) {
	t.Helper()
	dir = t.TempDir()
	dav := &webdav.Handler{FileSystem: webdav.Dir(dir), LockSystem: webdav.NewMemLS()}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "rack" || password != "gamma" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if _, err := os.Stat(filepath.Join(dir, r.URL.Path)); err == nil && r.Header.Get("If-None-Match") == "*" {
			w.WriteHeader(http.StatusPreconditionFailed)
			return
		}
		if r.Method == http.MethodGet && changed != nil {
			data, err := os.ReadFile(filepath.Join(dir, r.URL.Path))
			if err != nil {
				t.Error(err)
			}
			w.Write(changed(data))
			return
		}
		dav.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, dir
}

func TestScheduleToAServer(t *testing.T) {
	base, dir := newWebDAV(t, nil)
	leading := new(atomic.Bool)
	now := time.Now()
	s, broken := newTestSchedule(t, func(cfg *ScheduleConfig) {
		cfg.URL, cfg.User, cfg.Password, cfg.Leading = base+"/", "rack", "gamma", leading.Load
		cfg.Now = func() time.Time { return now }
	})
	to := s.targets[0]
	run := func() TargetStatus { s.runTarget(t.Context(), to); return s.Status()[0] }
	elapse := func(d time.Duration) {
		now = now.Add(d)
		to.since, to.notUntil = to.since.Add(-d), to.notUntil.Add(-d)
	}
	if status := run(); status.LastSuccess != nil || status.Responsible {
		t.Errorf("a follower: %+v", status)
	}
	leading.Store(true)
	if status := run(); status.LastSuccess != nil || !status.Responsible {
		t.Errorf("a new leader: %+v", status)
	}
	elapse(firstDelay)
	if status := run(); status.LastSuccess == nil || status.Error != "" || len(backupsIn(t, dir)) != 1 {
		t.Fatalf("after a minute: %+v, %v", status, backupsIn(t, dir))
	}
	if run(); len(backupsIn(t, dir)) != 1 {
		t.Error("one too early")
	}
	elapse(3 * time.Hour)
	if notices := s.Notices("a"); len(notices) != 1 || !strings.Contains(notices[0], "is late") {
		t.Errorf("%v", notices)
	}
	broken.Store(true)
	if status := run(); !strings.Contains(status.Error, "no majority") || strings.Contains(status.Error, base) || len(backupsIn(t, dir)) != 1 {
		t.Errorf("a source that fails: %+v, %v", status, backupsIn(t, dir))
	}
	leading.Store(false)
	if status := run(); status.Error != "" {
		t.Errorf("no longer the leader: %+v", status)
	}
}

func TestServersThatFail(t *testing.T) {
	good, _ := newWebDAV(t, nil)
	flips, flipsDir := newWebDAV(t, func(data []byte) []byte { data[len(data)/2] ^= 1; return data })
	cuts, cutsDir := newWebDAV(t, func(data []byte) []byte { return data[:len(data)-20] })
	from := sourceOf(newTestBook(t, 20))
	keyring := newPassphraseKeyring(t, testPassphrase)
	gone := httptest.NewServer(nil)
	gone.Close()
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInsufficientStorage) }))
	defer refuses.Close()
	for name, tt := range map[string]struct {
		store *webStore
		kind  error
		want  string
	}{
		"a bit flipped":   {newWebStore(flips, "rack", "gamma"), ErrDamaged, "reading one.age back"},
		"cut":             {newWebStore(cuts, "rack", "gamma"), ErrDamaged, "reading one.age back"},
		"wrong password":  {newWebStore(good, "rack", "delta"), nil, "check user and password"},
		"full":            {newWebStore(refuses.URL, "", ""), nil, "507"},
		"does not answer": {newWebStore(gone.URL, "", ""), nil, "the server of the backups"},
	} {
		_, _, err := Make(t.Context(), tt.store, "one.age", keyring, from, nil)
		if err == nil || tt.kind != nil && !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, dir := range []string{flipsDir, cutsDir} {
		if left := backupsIn(t, dir); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	}
	store := newWebStore(good, "rack", "gamma")
	if _, _, err := Make(t.Context(), store, "one.age", keyring, from, CheckBook); err != nil {
		t.Error(err)
	}
	if _, _, err := Make(t.Context(), store, "one.age", keyring, from, nil); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("the same name again: %v", err)
	}
}

// A server that needs the length of a request gets it, at the second attempt, and from then on at
// the first.
func TestServerThatNeedsTheLength(t *testing.T) {
	var stored []byte
	puts := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut && r.ContentLength < 0:
			puts++
			w.WriteHeader(http.StatusLengthRequired)
		case r.Method == http.MethodPut:
			puts++
			stored, _ = io.ReadAll(r.Body)
			w.WriteHeader(http.StatusCreated)
		case r.Method == http.MethodGet:
			w.Write(stored)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	store := newWebStore(server.URL, "", "")
	for n := range 2 {
		h, size, err := Make(t.Context(), store, "one.age", newPassphraseKeyring(t, testPassphrase), sourceOf(newTestBook(t, 20)), nil)
		if err != nil || h.Orders != 20 || puts != 2+n || size != int64(len(stored)) {
			t.Errorf("attempt %d: %+v, %v after %d requests; %d bytes of %d", n+1, h, err, puts, size, len(stored))
		}
	}
}
