package orderservice

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bramble/cluster/ledger"
	"bramble/node/backup"
	"bramble/node/orders"
	"bramble/node/orders/draw"
)

// restoreClient restores a backup by a service's API.
type restoreClient struct {
	t       *testing.T
	h       http.Handler
	header  backup.Header
	chunks  [][]byte
	request RestoreRequest
}

func newRestoreClient(t *testing.T, s *Service, h backup.Header, book []byte, size int) *restoreClient {
	sum := sha256.Sum256(book)
	c := &restoreClient{t: t, h: s.Handler("/api/"), header: h}
	for len(book) > 0 {
		n := min(size, len(book))
		c.chunks, book = append(c.chunks, book[:n]), book[n:]
	}
	c.request = RestoreRequest{Operator: "me", OpID: 4711, Header: &c.header, Chunks: len(c.chunks), Sum: hex.EncodeToString(sum[:])}
	return c
}

func (r *restoreClient) call(method, path string, body []byte) (int, string) {
	w := httptest.NewRecorder()
	r.h.ServeHTTP(w, httptest.NewRequest(method, "/api/"+path, bytes.NewReader(body)))
	return w.Code, w.Body.String()
}

// step sends a step, and checks its status and a part of the answer.
func (r *restoreClient) step(action string, status int, want string) {
	r.t.Helper()
	request := r.request
	request.Action = action
	body, err := json.Marshal(request)
	if err != nil {
		r.t.Fatal(err)
	}
	if code, text := r.call(http.MethodPost, "restore", body); code != status || !strings.Contains(text, want) {
		r.t.Errorf("%s: %d %s; want %d with %q", action, code, text, status, want)
	}
}

func (r *restoreClient) putChunks() {
	r.t.Helper()
	for n, chunk := range r.chunks {
		for range 2 { // an answer may be lost
			if code, text := r.call(http.MethodPut, fmt.Sprintf("restore/%d/%d", r.request.OpID, n), chunk); code != http.StatusOK {
				r.t.Fatalf("part %d: %d %s", n, code, text)
			}
		}
	}
}

// withRules makes a fake ledger report the rules in force.
func (f *fakeLedger) withRules(rules uint32) {
	f.set(func() {
		f.status = &ledger.Status{Founded: true, Leader: "b1", Ledger: "00000000000000aa", Rules: rules, Clock: ledger.ClockStatus{Trusted: true}}
	})
}

// readRecordedBackup decrypts the recorded backup.
func readRecordedBackup(t *testing.T) (backup.Header, []byte) {
	t.Helper()
	keyring, err := backup.NewPassphraseKeyring("correct horse battery staple")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join("testdata", "recorded", "rack.age"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var book bytes.Buffer
	h, err := keyring.Open(f, func(h backup.Header, r io.Reader) error { return backup.CheckBook(h, io.TeeReader(r, &book)) })
	if err != nil {
		t.Fatal(err)
	}
	return h, book.Bytes()
}

// The recorded backup was made on 2026-11-29 of a rack of three boards while orders arrived
// (TestBackupIsRestoredElsewhere of package node, with -record-backup). Every later program must restore it. rack.txt has
// a line for each receipt that buyers had. Never record it again: record new ones beside it.
func TestRecordedBackupIsRestored(t *testing.T) {
	h, book := readRecordedBackup(t)
	s, l := newTestService(t)
	l.withRules(orders.MaxRules)
	c := newRestoreClient(t, s, h, book, 3000)
	c.step("begin", http.StatusConflict, "is ahead of this rack's")
	c.request.AcceptClock = true
	c.step("begin", http.StatusOK, "lacks products of the backup")
	c.step("begin", http.StatusOK, "") // again
	l.set(func() { l.now = h.At.Add(time.Minute) })
	c.step("finish", http.StatusConflict, "parts of the backup are missing")
	c.putChunks()
	c.step("finish", http.StatusOK, fmt.Sprintf("The rack has %d orders", h.Orders))
	c.step("finish", http.StatusOK, fmt.Sprintf("The rack has %d orders", h.Orders)) // the answer was lost
	c.step("finish", http.StatusOK, "end them again: bramble orders relink --revoke")
	c.step("finish", http.StatusOK, erasedAreBack)
	c.step("finish", http.StatusOK, "Ballots that the backup has not drawn: late. If")

	lines, err := os.ReadFile(filepath.Join("testdata", "recorded", "rack.txt"))
	if err != nil {
		t.Fatal(err)
	}
	seen, person := 0, ""
	for line := range strings.Lines(string(lines)) {
		var path, kind, product, state string
		var quantity, position int
		if _, err := fmt.Sscan(line, &path, &kind, &product, &quantity, &state, &position); err != nil {
			t.Fatal(err)
		}
		reference, token, _ := strings.Cut(strings.TrimPrefix(path, "/r/"), "/")
		id, err := orders.ParseID(reference)
		if err != nil {
			t.Fatal(err)
		}
		o, place, err := s.Order(t.Context(), id)
		if err != nil || o.Kind.String() != kind || o.Product != product || o.Quantity != quantity || o.State.String() != state || place != position {
			t.Errorf("%s: %+v at %d, %v", line, o, place, err)
		}
		person = cmp.Or(o.Person.Email, person)
		if !s.Verify(id, token) || s.Verify(id+1, token) || !s.Verify(id, s.Sign(id, false)) {
			t.Errorf("%s: the link of the receipt", line)
		}
		seen++
	}
	if seen < 40 {
		t.Errorf("%d receipts", seen)
	}
	if f, ok := s.Draw("drawn"); !ok || f.Version != 1 || len(f.Winners) != 2 {
		t.Errorf("the draw: %v, %+v", ok, f)
	}
	s.runDueTicks(t.Context()) // fixes the list
	if out, err := s.Operate(t.Context(), OperatorCommand{Action: "draw", Operator: "me", OpID: 1, Product: "late", Kind: "dice", Text: "36115246613611524661"}); err != nil {
		t.Errorf("the pending draw: %+v, %v", out, err)
	}
	for range 100 {
		s.runDueTicks(t.Context())
	}
	if f, ok := s.Draw("late"); !ok || draw.Verify(f) != nil || len(f.Winners) != 2 {
		t.Errorf("the pending draw: %v, %+v", ok, f)
	}
	if err := recountBook(t, s.cfg.Book); err != nil {
		t.Error(err)
	}
	// What is drawn since is named again, and what erased people must know is a notice until an erasure.
	c.step("finish", http.StatusOK, "Ballots that the backup has not drawn: late. If")
	from, at := s.cfg.Book.RestoredFrom()
	for _, step := range []struct {
		now   time.Time
		shows bool
		erase bool
	}{{at, true, false}, {at.Add(restoredNotice), false, false}, {at.Add(restoredNotice - time.Second), true, true}, {at.Add(time.Minute), false, false}} {
		l.set(func() { l.now = step.now })
		notices := strings.Join(s.Notices("a"), "\n")
		if shows := strings.Contains(notices, "A backup of "+from.Format("2006-01-02 15:04:05 UTC")+" was restored. "+erasedAreBack); shows != step.shows || !from.Equal(h.At) {
			t.Errorf("%v after the restore of a backup of %v: %s", step.now.Sub(at), h.At, notices)
		}
		if !step.erase {
			continue
		}
		if _, err := s.Operate(t.Context(), OperatorCommand{Action: "erase", Operator: "me", OpID: NewOpID(), Email: person}); err != nil {
			t.Fatal(err)
		}
	}
	c.request.OpID++
	c.step("begin", http.StatusConflict, "this rack is not empty")
}

func TestRestoreAPI(t *testing.T) {
	h, book := readRecordedBackup(t)
	s, l := newTestService(t)
	l.set(func() { l.now = h.At })
	c := newRestoreClient(t, s, h, book, orders.MaxRestoreChunk)
	l.withRules(1)
	c.step("begin", http.StatusConflict, "update all boards")
	l.withRules(orders.MaxRules)
	c.step("dance", http.StatusBadRequest, "begin, finish and cancel")
	c.request.Sum = "00"
	c.step("begin", http.StatusBadRequest, "needs header, chunks and sum")
	c = newRestoreClient(t, s, h, book, orders.MaxRestoreChunk)
	c.request.Chunks = orders.MaxRestoreChunks + 1
	c.step("begin", http.StatusBadRequest, "Chunks")
	c.request.Chunks = 1
	c.step("finish", http.StatusConflict, "replaced by another")
	for path, want := range map[string]int{"restore/4711/0": http.StatusConflict, "restore/x/0": http.StatusBadRequest, "restore/4711/-1": http.StatusBadRequest} {
		if code, text := c.call(http.MethodPut, path, []byte("x")); code != want {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	if code, _ := c.call(http.MethodPut, "restore/4711/0", make([]byte, orders.MaxRestoreChunk+1)); code != http.StatusBadRequest {
		t.Errorf("a chunk that is too long: %d", code)
	}
	if code, _ := c.call(http.MethodPost, "restore", bytes.Repeat([]byte(" "), maxBody+1)); code != http.StatusBadRequest {
		t.Errorf("a body that is too long: %d", code)
	}
	c = newRestoreClient(t, s, h, book, orders.MaxRestoreChunk)
	c.chunks[0] = bytes.Clone(c.chunks[0])
	c.chunks[0][100] ^= 1
	c.step("begin", http.StatusOK, "")
	if code, text := c.call(http.MethodGet, "restore", nil); code != http.StatusOK || !strings.Contains(text, `"in_progress":true`) {
		t.Errorf("a restore in progress: %d %s", code, text)
	}
	for range 2 { // it is cut off: shown at once, and everything else is refused
		s.updatePause(time.Now())
		if notices := strings.Join(s.Notices("a"), "\n"); s.Pause() != orders.PausedStart || s.Ready() || !strings.Contains(notices, "bramble restore --cancel") {
			t.Errorf("a restore in progress: pause %v, %s", s.Pause(), notices)
		}
		_, err := s.Operate(t.Context(), OperatorCommand{Action: "announce", Operator: "me", OpID: NewOpID(), Text: "x"})
		if !errors.Is(err, errRefused) || !strings.Contains(err.Error(), "bramble restore --cancel") {
			t.Errorf("an announcement during a restore: %v", err)
		}
	}
	c.putChunks()
	c.step("finish", http.StatusConflict, "the rack is as it was")
	c.step("cancel", http.StatusOK, "nothing was ended")
	c.step("begin", http.StatusOK, "")
	c.step("cancel", http.StatusOK, "has ended")
	if code, text := c.call(http.MethodGet, "restore", nil); code != http.StatusOK || !strings.Contains(text, `"in_progress":false`) {
		t.Errorf("no restore in progress: %d %s", code, text)
	}
}

// A backup of a service is one that the API of another restores.
func TestBackupAPI(t *testing.T) {
	s, l := newTestService(t)
	l.withRules(orders.MaxRules)
	s.cfg.Board, s.cfg.Version = "board-1", "test"
	s.offerCatalogue(t.Context())
	if _, err := s.PlaceOrder(t.Context(), testOrder(7)); err != nil {
		t.Fatal(err)
	}
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		s.Handler("/api/").ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/"+path, nil))
		return w.Code, w.Body.String()
	}
	code, plain := get("backup")
	if code != http.StatusOK {
		t.Fatalf("%d %s", code, plain)
	}
	var book bytes.Buffer
	h, err := backup.ReadStream(strings.NewReader(plain), func(h backup.Header, r io.Reader) error { return backup.CheckBook(h, io.TeeReader(r, &book)) })
	if err != nil || h.Board != "board-1" || h.Ledger != "00000000000000aa" || h.Orders != 1 || len(h.ReceiptKeys) != 2 || h.Digest != backup.FormatDigest(s.cfg.Book.Digest()) {
		t.Errorf("%+v, %v", h, err)
	}
	if bytes.Contains([]byte(plain), []byte("new key")) {
		t.Error("the backup has the rack key")
	}
	l.set(func() { l.fail = []error{ledger.ErrNoMajority} })
	for path, want := range map[string]int{"backup": http.StatusServiceUnavailable, "backup?stale=1": http.StatusOK} {
		if code, _ := get(path); code != want {
			t.Errorf("cut off, %s: %d", path, code)
		}
	}
	if code, text := get("backup/status"); code != http.StatusOK || text != "[]\n" {
		t.Errorf("%d %s", code, text)
	}
	s.cfg.BackupStatus = func() []backup.TargetStatus { return []backup.TargetStatus{{Kind: "url"}} }
	if _, text := get("backup/status"); !strings.Contains(text, `"kind":"url"`) {
		t.Error(text)
	}
	// One at a time.
	s.backingUp <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Backup(ctx, io.Discard); err == nil || !strings.Contains(err.Error(), "another backup") {
		t.Errorf("%v", err)
	}
}
