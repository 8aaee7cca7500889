package fulfilment

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"bramble/node/orders"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// launch is the moment at which the shop of these tests opened.
var launch = time.Date(2012, 2, 29, 6, 0, 0, 0, time.UTC)

// testOrder returns an order whose person must never appear in a log.
func testOrder(n int) orders.Order {
	return orders.Order{
		ID: orders.ID(1000 + n), Kind: orders.KindOrder, Product: "model-b", Number: uint64(n), Quantity: 1,
		Total: 3500, Currency: "USD", Made: launch, State: orders.StateOpen,
		Person: orders.Person{
			Name: "Zoë Łęcka", Email: "zoe@home.example", Line1: "1 Bramble Lane", City: "Cambridge",
			Postcode: "CB1 1AA", Country: "GB",
		},
	}
}

// The methods that read are the order book's own.
var _ interface {
	Outbox(orders.Queue, time.Time, orders.Job, int) ([]orders.Job, error)
	Order(orders.ID) (orders.Order, error)
} = (*orders.Book)(nil)

// fakeJobStore is a job store of a few orders that commits everything unless a test sets a hook.
type fakeJobStore struct {
	mu         sync.Mutex // protects what follows
	orders     map[orders.ID]orders.Order
	jobs       map[orders.Queue][]orders.Job // in their order; Order as when the job was created
	ends       map[orders.ID]Resolution
	calls      []string // "begin …", "finish …", and what tests add
	beginHook  func(orders.ID) error
	finishHook func(orders.ID) error
}

func newFakeJobStore() *fakeJobStore {
	return &fakeJobStore{orders: map[orders.ID]orders.Order{}, jobs: map[orders.Queue][]orders.Job{}, ends: map[orders.ID]Resolution{}}
}

func (f *fakeJobStore) add(q orders.Queue, what orders.JobKind, since time.Time, list ...orders.Order) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range list {
		f.orders[p.ID] = p
		f.jobs[q] = append(f.jobs[q], orders.Job{Kind: what, Since: since, Order: p})
	}
}

func (f *fakeJobStore) note(s string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, s)
}

func (f *fakeJobStore) noted() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func (f *fakeJobStore) end(id orders.ID) Resolution {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ends[id]
}

func (f *fakeJobStore) left(q orders.Queue) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.jobs[q])
}

func (f *fakeJobStore) Outbox(q orders.Queue, now time.Time, after orders.Job, limit int) ([]orders.Job, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var page []orders.Job
	for _, j := range f.jobs[q] {
		past := j.Since.After(after.Since) || j.Since.Equal(after.Since) && j.Order.Number > after.Order.Number
		if past && !j.Since.After(now) && len(page) < limit {
			page = append(page, j)
		}
	}
	return page, nil
}

func (f *fakeJobStore) Order(id orders.ID) (orders.Order, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, ok := f.orders[id]
	if !ok {
		return p, orders.ErrNoOrder
	}
	return p, nil
}

func (f *fakeJobStore) BeginFulfilment(_ context.Context, id orders.ID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, "begin "+id.String())
	if f.beginHook != nil {
		if err := f.beginHook(id); err != nil {
			return err
		}
	}
	p := f.orders[id]
	p.State = orders.StateFulfilling
	f.orders[id] = p
	return nil
}

func (f *fakeJobStore) FinishJob(_ context.Context, id orders.ID, what orders.JobKind, how Resolution) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, "finish "+id.String())
	if f.finishHook != nil {
		if err := f.finishHook(id); err != nil {
			return err
		}
	}
	f.ends[id] = how
	for q, list := range f.jobs {
		f.jobs[q] = slices.DeleteFunc(list, func(j orders.Job) bool { return j.Order.ID == id && j.Kind == what })
	}
	if p := f.orders[id]; what == orders.JobWebhook {
		p.State = orders.StateFulfilled
		f.orders[id] = p
	}
	return nil
}

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex // protects at
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// logs collects what a Sender logs.
type logs struct {
	mu   sync.Mutex // protects text
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// start runs a Sender until stop is called or the test ends.
func start(t *testing.T, cfg Config) (s *Sender, stop func()) {
	t.Helper()
	if cfg.Poll == 0 {
		cfg.Poll = 2 * time.Millisecond
	}
	if cfg.Leading == nil {
		cfg.Leading = func() bool { return true }
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Run(ctx)
	}()
	stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(stop)
	return s, stop
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// authority makes a certificate authority and a certificate of it for 127.0.0.1.
func authority(t *testing.T) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(err)
	caCert, err := x509.ParseCertificate(caDER)
	must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, caCert, key.Public(), caKey)
	must(err)
	pool := x509.NewCertPool()
	pool.AddCert(caCert)
	return pool, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
