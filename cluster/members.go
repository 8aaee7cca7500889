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
	"bramble/cluster/unproven"
)

const (
	// metaPerSecond bounds the boards of a rack that gossip metadata in one second although nothing
	// material changed, so that uptime and slow drifts spread too: up to eight boards gossip every
	// sample, and each of 32 boards one in four.
	metaPerSecond = 8
	// publishTimeout bounds how long one metadata update waits for memberlist to send it.
	publishTimeout = 2 * time.Second
	// housekeepingInterval is the time between two checks for boards to forget and for a new address.
	housekeepingInterval = 5 * time.Second
	// maxBoards bounds the boards that are remembered, including those that died or left.
	maxBoards = maxMembers
	// watchBuffer is the number of events that a slow watcher may lag before it loses some.
	watchBuffer = 256
)

// Board is this board's view of one board of the rack.
type Board struct {
	Name     string
	Addr     netip.AddrPort // of its gossip, and its host for everything else
	Link     string         // host:port of its rack link, "" if it has none
	Meta     Meta           // the latest that was received
	Alive    bool
	Departed bool      // it said goodbye; then Alive is false
	Since    time.Time // when Alive last changed
	Self     bool      // this board itself

	leaving bool // its goodbye has come
}

// Members is a board's membership of its rack. All methods may be called by any goroutine.
type Members struct {
	cfg        MembersConfig
	keys       *memberlist.Keyring
	log        *slog.Logger // logs every line
	dedupLog   *slog.Logger // logs the same line once a minute
	libraryLog *log.Logger
	unproven   *unproven.Connections
	ctx        context.Context
	cancel     context.CancelFunc
	wg         sync.WaitGroup
	ring       atomic.Pointer[Ring]
	publish    chan struct{} // a signal: there is metadata to gossip; holds one
	rebuild    chan struct{} // a signal: boards changed or events are queued; holds one
	rejoin     chan struct{} // a signal: rejoin now; holds one
	conflict   atomic.Bool   // another board uses this board's name, or its address changed

	listMu   sync.Mutex             // guards what follows; held while gossip starts and stops, never in a callback
	bind     netip.AddrPort         // its port is not 0 once it listens
	list     *memberlist.Memberlist // nil while gossip could not start at a new address
	closed   bool
	departed bool

	mu          sync.Mutex // guards what follows; held briefly, and never across a call out of the package
	generation  int        // of the current gossip; callbacks of an earlier one are ignored
	boards      map[string]*Board
	encoded     []byte // this board's Meta in wire form
	published   Meta   // this board's Meta as last passed to memberlist
	publishedAt time.Time
	events      []Event             // not yet sent to watchers
	watchers    map[chan Event]bool // nil once closed
}

// Start starts gossip and searches for the rack until Close is called or ctx ends. It does not wait for
// other boards: a board without peers serves alone. It fails if the configuration cannot work (ErrConfig) or
// the port is taken.
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
	dedup := slog.New(logdedup.NewHandler(cfg.Logger.Handler(), 0, nil))
	m := &Members{
		cfg:         cfg,
		bind:        bind,
		keys:        keys,
		log:         cfg.Logger,
		dedupLog:    dedup,
		libraryLog:  log.New(libraryWriter{dedup}, "", 0),
		ctx:         ctx,
		cancel:      cancel,
		publish:     make(chan struct{}, 1),
		rebuild:     make(chan struct{}, 1),
		rejoin:      make(chan struct{}, 1),
		boards:      make(map[string]*Board),
		encoded:     encoded,
		published:   cfg.Meta,
		publishedAt: time.Now(),
		watchers:    make(map[chan Event]bool),
	}
	m.unproven = unproven.New(unproven.Timeout, m.isBoardAddr, dedup)
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

// Boards returns the known boards sorted by name: the live ones, including this one, and those that
// died or left no longer than Forget ago.
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

// isBoardAddr reports whether another known board, alive or not, is at addr.
func (m *Members) isBoardAddr(addr netip.Addr) bool {
	return slices.ContainsFunc(m.Boards(), func(b Board) bool { return !b.Self && b.Addr.Addr() == addr })
}

// Self returns this board.
func (m *Members) Self() Board {
	m.mu.Lock()
	defer m.mu.Unlock()
	return *m.boards[m.cfg.Name]
}

// Known returns the number of live boards, including this one, and the number of known boards: the live
// ones, and those that died without a goodbye and are not forgotten. A board that reaches no more than
// half of the known boards is not on the majority side of a split.
func (m *Members) Known() (alive, known int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.boards {
		if b.Alive {
			alive++
		}
		if b.Alive || !b.Departed {
			known++
		}
	}
	return alive, known
}

// Ring returns the current ring. It costs one atomic load.
func (m *Members) Ring() *Ring { return m.ring.Load() }

// SetMeta publishes this board's metadata to the rack. It never blocks. In a rack of over eight boards
// an update without a material change is delayed (metaPerSecond): a change of State, Faults, Flags,
// Weight, addresses, version or cache budget is always material, a rate, size or count if it moved by a
// twentieth (isMaterialChange). A Meta that
// cannot be sent (see Meta.Append) is logged and dropped.
func (m *Members) SetMeta(meta Meta) {
	encoded, err := meta.Append(nil)
	if err != nil {
		m.dedupLog.Error("cannot gossip this board's vitals", "error", err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	self := m.boards[m.cfg.Name]
	m.noteMeta(self, meta)
	m.encoded = encoded
	if isMaterialChange(m.published, meta) || time.Since(m.publishedAt) >= time.Duration(len(m.boards))*time.Second/metaPerSecond {
		m.published, m.publishedAt = meta, time.Now()
		wakeReader(m.publish)
	}
}

// HealthScore returns memberlist's awareness score (Lifeguard) scaled to 0 (healthy) to 1. The score rises
// while this board misses answers that it expects, because it is too busy or its cable is bad. HealthScore
// never blocks for long; while gossip starts or stops it returns 0. It also returns 0 while no other board is
// alive: only answers lower the score, so without anybody to ask it would stay where the last death left it.
func (m *Members) HealthScore() float64 {
	if !m.listMu.TryLock() {
		return 0
	}
	list := m.list
	m.listMu.Unlock()
	if list == nil {
		return 0
	}
	score := list.GetHealthScore()
	if score == 0 || list.NumMembers() < 2 {
		return 0
	}
	return float64(score) / float64(max(m.cfg.Timing.AwarenessMax-1, 1))
}

// Watch returns a channel of all events from now on, and a function that ends the watch and closes the
// channel. A watcher whose buffer is full loses events. Close closes the channel too.
func (m *Members) Watch() (<-chan Event, func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ch := make(chan Event, watchBuffer)
	if m.watchers == nil { // closed
		close(ch)
		return ch, func() {}
	}
	m.watchers[ch] = true
	return ch, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.watchers[ch] {
			delete(m.watchers, ch)
			close(ch)
		}
	}
}

// Leave says goodbye to the rack. It returns when the goodbye is sent, or with an error after timeout.
// The board then stays out of the rack. Close must still be called.
func (m *Members) Leave(timeout time.Duration) error {
	m.listMu.Lock()
	defer m.listMu.Unlock()
	if m.closed {
		return ErrClosed
	}
	m.departed = true
	if err := m.sayGoodbye(timeout); err != nil {
		return fmt.Errorf("leave the rack: %w", err)
	}
	return nil
}

// Close ends the membership without a goodbye and waits for its goroutines. It may be called again.
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
	for ch := range m.watchers {
		close(ch)
	}
	m.watchers = nil
	return err
}

// wakeReader wakes the goroutine that reads c, unless a wake-up is pending.
func wakeReader(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func linkOf(addr netip.AddrPort, meta Meta) string {
	if meta.LinkPort == 0 || !addr.IsValid() {
		return ""
	}
	return net.JoinHostPort(addr.Addr().String(), strconv.Itoa(int(meta.LinkPort)))
}
