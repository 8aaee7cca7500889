package orderservice

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bramble/cluster/ledger"
	"bramble/node/orders"
)

// slowLog is a ledger whose log is read when the test allows it.
type slowLog struct {
	*fakeLedger
	allow chan error
	read  int
}

func (l *slowLog) ReadLog(m ledger.StateMachine) (ledger.Recovery, error) {
	l.read++
	if err := <-l.allow; err != nil {
		return ledger.Recovery{}, err
	}
	_, err := m.Apply(ledger.Batch{Index: 1, At: time.Unix(1, 0), Rules: 1, Commands: [][]byte{orders.Encode(berry()), orders.Encode(testOrder(7))}})
	return ledger.Recovery{Index: 1, Unproven: 2}, err
}

// The log of a board without a leader is read once for many requests; its folder goes with the
// last use, and an error is told once.
func TestLogView(t *testing.T) {
	d, l := newTestService(t)
	slow := &slowLog{fakeLedger: l, allow: make(chan error, 3)}
	d.cfg.Ledger = slow
	d.cfg.LogViewDir = filepath.Join(t.TempDir(), "view")
	d.logView.dir = d.cfg.LogViewDir
	request := func(query string) (*orders.Book, *StaleJSON, error) {
		r := httptest.NewRequest("GET", "/orders"+query, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		return d.bookFor(r.WithContext(ctx))
	}
	if book, about, err := request("?stale=1"); err != nil || book != d.cfg.Book || about == nil || about.FromLog {
		t.Fatalf("with a leader: %+v, %v", about, err)
	}
	l.set(func() { l.status = &ledger.Status{Founded: true, LastEntry: 1} })
	slow.allow <- errors.New("it is worn out")
	if _, _, err := request("?stale=1"); err == nil || !strings.Contains(err.Error(), "worn out") {
		t.Errorf("a log that cannot be read: %v", err)
	}
	for range 2 {
		if slow.read == 1 {
			slow.allow <- nil
		}
		book, about, err := request("?stale=1")
		if err != nil || !about.FromLog || about.Entry != 1 || about.Unproven != 2 {
			t.Fatalf("%+v, %v", about, err)
		}
		if found, _, err := book.Orders(orders.Filter{}, 0, 10); err != nil || len(found) != 1 {
			t.Errorf("%d orders, %v", len(found), err)
		}
	}
	if slow.read != 2 {
		t.Errorf("the log was read %d times", slow.read)
	}
	d.logView.close()
	if _, err := os.Stat(d.cfg.LogViewDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}
