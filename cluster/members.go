package cluster

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"bramble/cluster/logdedup"
)

const (
	// metaPerSecond is how many boards of a rack may gossip metadata in a second although nothing
	// material changed, so that uptime and slow drifts are told too: up to eight boards do so with
	// every sample, and of 32 each one every four seconds.
	metaPerSecond = 8
	// publishTimeout bounds how long one metadata update waits for memberlist to send it.
	publishTimeout = 2 * time.Second
	// housekeepingInterval is how often dead boards are looked over and the own address is checked.
	housekeepingInterval = 5 * time.Second
	// maxBoards bounds how many boards are remembered, the dead and gone included.
	maxBoards = maxMembers
	// watchBuffer is how many events a slow watcher may be behind before it loses some.
	watchBuffer = 256
)

// Board is what this board knows of one board of the rack.
type Board struct {
	Name  string
	Addr  netip.AddrPort // of its gossip, and its host for everything else
	Link  string         // host:port of its rack link, "" if it has none
	Meta  Meta           // the last that was heard
	Alive bool
	Left  bool      // it said goodbye; then it is not Alive
	Since time.Time // when Alive last changed
	Self  bool      // it is this board

	leaving bool // it said that it is about to leave
}

// Members is a board's membership of its rack. All methods may be called by any goroutine.
type Members struct {
	cfg        MembersConfig
	keys       *memberlist.Keyring
	log        *slog.Logger // every line
	dedupLog   *slog.Logger // each line once a minute
	libraryLog *log.Logger
	ctx        context.Context
	cancel     context.CancelFunc
	wg         sync.WaitGroup
	ring       atomic.Pointer[Ring]
	publish    chan struct{} // metadata wants to be gossiped; holds one
	rebuild    chan struct{} // boards or events changed; holds one
	rejoin     chan struct{} // try now; holds one
	conflict   atomic.Bool   // somebody else uses this board's name, or its address changed

	listMu sync.Mutex             // protects what follows; held while gossip starts and stops, never in a callback
	bind   netip.AddrPort         // port not 0 once listening
	list   *memberlist.Memberlist // nil while gossip could not start at a new address
	closed bool
	left   bool

	mu         sync.Mutex // protects what follows; held for short, and no call leaves the package with it
	generation int        // of the gossip whose callbacks count
	boards     map[string]*Board
	encoded    []byte // the own Meta in wire form
	published  Meta   // the own Meta that was last handed to gossip
	publishAt  time.Time
	events     []Event // not yet given to watchers
	watchers   map[int]chan Event
	watcherID  int
}

// Start makes the board listen, and look for its rack until Close is called or ctx ends. It does not
// wait for other boards: a board without peers serves alone. It fails if the configuration cannot
// work (ErrConfig) or the port cannot be had.
func Start(ctx context.Context, cfg MembersConfig) (*Members, error) {
	bind, keys, err := checkMembers(&cfg)
	if err != nil {
		return nil, err
	}
	encoded, err := cfg.Meta.Append(nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	quiet := slog.New(logdedup.NewHandler(cfg.Logger.Handler(), 0, nil))
	m := &Members{
		cfg:        cfg,
		bind:       bind,
		keys:       keys,
		log:        cfg.Logger,
		dedupLog:   quiet,
		libraryLog: log.New(libraryWriter{quiet}, "", 0),
		ctx:        ctx,
		cancel:     cancel,
		publish:    make(chan struct{}, 1),
		rebuild:    make(chan struct{}, 1),
		rejoin:     make(chan struct{}, 1),
		boards:     make(map[string]*Board),
		encoded:    encoded,
		published:  cfg.Meta,
		publishAt:  time.Now(),
		watchers:   make(map[int]chan Event),
	}
	m.boards[cfg.Name] = &Board{Name: cfg.Name, Meta: cfg.Meta, Alive: true, Since: time.Now(), Self: true}
	m.listMu.Lock()
	err = m.startGossip()
	m.listMu.Unlock()
	if err != nil {
		cancel()
		return nil, err
	}
	m.rebuildRing()
	for _, loop := range []func(){m.publishLoop, m.rebuildLoop, m.rejoinLoop, m.housekeepingLoop} {
		m.wg.Go(loop)
	}
	context.AfterFunc(ctx, func() { m.Close() })
	return m, nil
}

// Boards returns all boards that count, sorted by name: the live ones, this one among them, and those
// that died or left no longer than Forget ago.
func (m *Members) Boards() []Board {
	m.mu.Lock()
	defer m.mu.Unlock()
	boards := make([]Board, 0, len(m.boards))
	for _, b := range m.boards {
		boards = append(boards, *b)
	}
	slices.SortFunc(boards, func(a, b Board) int { return strings.Compare(a.Name, b.Name) })
	return boards
}

// Self returns what this board says of itself.
func (m *Members) Self() Board {
	m.mu.Lock()
	defer m.mu.Unlock()
	return *m.boards[m.cfg.Name]
}

// Known returns how many boards are alive, this one included, and how many there should be: these and
// the ones that died without goodbye and are not yet forgotten. A board that is not in reach of more
// than half of the known ones is on the small side of a split.
func (m *Members) Known() (alive, known int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.boards {
		if b.Alive {
			alive++
		}
		if b.Alive || !b.Left {
			known++
		}
	}
	return alive, known
}

// Ring returns the present ring. It costs one atomic load.
func (m *Members) Ring() *Ring { return m.ring.Load() }

// SetMeta tells the rack what this board now says of itself. It never blocks. In a rack of over eight
// boards an update that changes nothing material is kept back for a while (metaPerSecond): State,
// Faults, Weight, addresses and version count always, a rate, size or count when it moved by a
// twentieth. A Meta that cannot be sent (see Meta.Append) is logged and dropped.
func (m *Members) SetMeta(meta Meta) {
	encoded, err := meta.Append(nil)
	if err != nil {
		m.dedupLog.Error("this board's vitals cannot be gossiped", "err", err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	self := m.boards[m.cfg.Name]
	m.noteMeta(self, meta)
	m.encoded = encoded
	if isMaterialChange(m.published, meta) || time.Since(m.publishAt) >= time.Duration(len(m.boards))*time.Second/metaPerSecond {
		m.published, m.publishAt = meta, time.Now()
		wakeReader(m.publish)
	}
}

// HealthScore is memberlist's awareness score as a part of its most, 0 to 1: how many answers this board
// has lately missed that it should have had, because it is too busy or its wire is bad (Lifeguard). It
// never blocks: while gossip starts or stops it is 0.
func (m *Members) HealthScore() float64 {
	if !m.listMu.TryLock() {
		return 0
	}
	list := m.list
	m.listMu.Unlock()
	if list == nil {
		return 0
	}
	return float64(list.GetHealthScore()) / float64(max(m.cfg.Timing.AwarenessMax-1, 1))
}

// Watch returns a channel of all events from now on, and a function that ends the watch and closes
// the channel. Events that find the channel's buffer full are lost to that watcher. Close closes it too.
func (m *Members) Watch() (<-chan Event, func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ch := make(chan Event, watchBuffer)
	if m.watchers == nil { // closed
		close(ch)
		return ch, func() {}
	}
	m.watcherID++
	id := m.watcherID
	m.watchers[id] = ch
	return ch, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if _, ok := m.watchers[id]; ok {
			delete(m.watchers, id)
			close(ch)
		}
	}
}

// Leave says goodbye to the rack and returns when it was said, or with an error after timeout. The
// board then stays out until Close, which must still be called.
func (m *Members) Leave(timeout time.Duration) error {
	m.listMu.Lock()
	defer m.listMu.Unlock()
	if m.closed {
		return ErrClosed
	}
	m.left = true
	if err := m.sayGoodbye(timeout); err != nil {
		return fmt.Errorf("leave the rack: %w", err)
	}
	return nil
}

// Close ends the membership without a goodbye and waits for all its goroutines. It may be called
// again.
func (m *Members) Close() error {
	m.cancel()
	m.listMu.Lock()
	var err error
	if !m.closed {
		m.closed = true
		err = m.stopGossip()
	}
	m.listMu.Unlock()
	m.wg.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ch := range m.watchers {
		close(ch)
	}
	m.watchers = nil
	return err
}

// wakeReader wakes the goroutine that reads c, unless it is to be woken already.
func wakeReader(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// linkOf is the address of a board's rack link.
func linkOf(addr netip.AddrPort, meta Meta) string {
	if meta.LinkPort == 0 || !addr.IsValid() {
		return ""
	}
	return net.JoinHostPort(addr.Addr().String(), strconv.Itoa(int(meta.LinkPort)))
}
