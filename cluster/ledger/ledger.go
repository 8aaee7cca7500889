package ledger

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// Ledger is one board's part in the rack's ledger. All methods are safe for
// concurrent use.
type Ledger struct {
	cfg     Config
	applier *applier
	queue   *queue
	watches watches
	once    onceInTerm
	clock   *clock
	foreign foreigners
	found   string // what was damaged at start

	origin uint64        // of this start's batches
	number atomic.Uint64 // of the last one

	founded chan struct{} // closed when this board belongs to a ledger
	stopped chan struct{} // closed when Run ends

	compacting sync.Mutex // held while a snapshot is taken

	mu      sync.Mutex // guards all below
	files   *files
	founder founder
	meeting meeting
	raft    *raft.Raft // nil before it runs, and after
	streams *streams
	running bool
}

// Bounds of raft itself.
const (
	// cachedEntries are kept in memory so that followers are served without
	// reading the card.
	cachedEntries = 64
	// sentEntries is how many entries go to a follower in one message, and how
	// many batches share one sync.
	sentEntries = 64
	// trailing is how many entries stay in the log behind a snapshot, so that a
	// board that was away briefly need not be sent a snapshot.
	trailing = 128
	// pooledStreams are kept open to each board.
	pooledStreams = 3
)

// Open checks the ledger's files and gets everything ready; nothing moves
// before Run. Run gives the machine the newest snapshot at once, and the log
// behind it when a leader has said how much of it is committed: until then
// what the machine shows is as old as the snapshot. Damaged files are set aside (see Status.Damaged). The error is
// ErrDamaged if the files are damaged and this is the rack's only board.
func Open(cfg Config) (*Ledger, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	f, found, err := openOrSetAside(&cfg)
	if err != nil {
		return nil, err
	}
	l := &Ledger{
		cfg:     cfg,
		queue:   newQueue(),
		watches: watches{by: map[batchID]chan batchSaid{}},
		clock:   newClock(cfg.Clock),
		found:   found,
		origin:  random64(),
		founded: make(chan struct{}),
		stopped: make(chan struct{}),
		files:   f,
	}
	l.applier = newApplier(&cfg, l.watches.settle)
	l.applier.stopped = l.stopped
	if l.founder.acceptor, err = readAcceptor(f.keep); err != nil {
		f.close()
		return nil, err
	}
	if f.identity.Ledger != 0 {
		close(l.founded)
	}
	return l, nil
}

// Close gives the files back if Run was never called.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running {
		return errors.New("ledger: end Run's context instead")
	}
	l.running = true
	close(l.stopped)
	l.files.close()
	return nil
}

// Run takes part in the ledger until ctx ends, and returns nil then. It is
// called once. Commands that are waiting end with ErrStopped, those under way
// with ErrUncertain.
func (l *Ledger) Run(ctx context.Context) error {
	l.mu.Lock()
	if l.running {
		l.mu.Unlock()
		return errors.New("ledger: Run was called before")
	}
	l.running = true
	l.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer func() {
		cancel()
		close(l.stopped)
		l.queue.fail(ErrStopped)
		l.stopRaft()
		all.Wait()
		l.files.close()
	}()
	all.Go(func() { l.meet(ctx) })
	select {
	case <-l.founded:
	case <-ctx.Done():
		return nil
	}
	if err := l.startRaft(); err != nil {
		return fmt.Errorf("start the ledger: %w", err)
	}
	for range flights {
		all.Go(func() { l.fly(ctx) })
	}
	all.Go(func() { l.watchLeadership(ctx) })
	all.Go(func() { l.takeSnapshots(ctx) })
	<-ctx.Done()
	return nil
}

func (l *Ledger) startRaft() error {
	t := l.cfg.Timing
	log := quietLogger{log: l.cfg.Logger}
	l.mu.Lock()
	id := l.files.identity
	l.mu.Unlock()
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(id.Server)
	conf.HeartbeatTimeout, conf.ElectionTimeout = t.Heartbeat, t.Election
	conf.LeaderLeaseTimeout, conf.CommitTimeout = t.Lease, t.Commit
	conf.MaxAppendEntries, conf.BatchApplyCh = sentEntries, true
	conf.TrailingLogs = trailing
	// Snapshots are due by bytes, not by entries: see takeSnapshots.
	conf.SnapshotInterval, conf.SnapshotThreshold = time.Hour, math.MaxUint64
	conf.ShutdownOnRemove = false
	conf.NoLegacyTelemetry = true
	conf.Logger = log

	s := newStreams(l.cfg.Name, l.cfg.Link, id.Ledger, func(board string, theirs ledgerID) { l.compare(id.Ledger, board, theirs) })
	trans := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Logger: log, Stream: s, MaxPool: pooledStreams, Timeout: t.Wire, MsgpackUseNewTimeFormat: true,
		// One message to a follower at a time. raft 1.8's pipeline can lock up
		// for good when an answer fails while the next message is being sent:
		// its decoder has gone, its sender waits for it, and the follower is
		// sent heartbeats but no entries.
		MaxRPCsInFlight: 1})
	logs, err := raft.NewLogCache(cachedEntries, l.files.log)
	if err != nil {
		return err
	}
	has, err := raft.HasExistingState(logs, l.files.log, l.files.snaps)
	if err != nil {
		return err
	}
	first := charter{id.Ledger, id.First}
	if !has && slices.ContainsFunc(first.Voters, func(s seat) bool { return s.ID == id.Server }) {
		if err := raft.BootstrapCluster(conf, logs, l.files.log, l.files.snaps, trans, first.configuration()); err != nil {
			return fmt.Errorf("begin with the first voters: %w", err)
		}
	}
	r, err := raft.NewRaft(conf, l.applier, logs, l.files.log, l.files.snaps, trans)
	if err != nil {
		trans.Close()
		s.Close()
		return err
	}
	l.mu.Lock()
	l.raft, l.streams = r, s
	l.mu.Unlock()
	return nil
}

func (l *Ledger) stopRaft() {
	l.mu.Lock()
	r, s := l.raft, l.streams
	l.raft, l.streams = nil, nil
	l.mu.Unlock()
	if r == nil {
		return
	}
	stopping := r.Shutdown()
	s.Close()
	stopping.Error() // waits for raft's goroutines; raft closes the transport
}

// live is the running raft, nil if there is none.
func (l *Ledger) live() *raft.Raft {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.raft
}

// leader is the leading board and the term it leads in, as far as known here.
func (l *Ledger) leader() (board string, term uint64, ok bool) {
	r := l.live()
	if r == nil {
		return "", 0, false
	}
	term = r.CurrentTerm()
	address, id := r.LeaderWithID()
	if id == "" || r.CurrentTerm() != term {
		return "", 0, false
	}
	return string(address), term, true
}

// Accept is given a stream that another board opened with Link.Stream. It
// takes the connection over and returns at once or after a short greeting.
func (l *Ledger) Accept(conn net.Conn, board string) {
	l.mu.Lock()
	s := l.streams
	l.mu.Unlock()
	if s == nil {
		conn.Close()
		return
	}
	if err := s.take(conn, board); err != nil {
		l.cfg.Logger.Debug("ledger: a stream was turned away", "board", board, "err", err)
	}
}

// Answer is the other side of Link.Ask: board asked.
func (l *Ledger) Answer(ctx context.Context, board, kind string, body []byte) ([]byte, error) {
	select {
	case <-l.stopped:
		return nil, ErrStopped
	default:
	}
	if len(body) > MaxAsk {
		return nil, fmt.Errorf("%w: a question of %d bytes", ErrTooLarge, len(body))
	}
	switch kind {
	case kindHello:
		return answerJSON(body, func(q helloAsk) (helloSaid, error) { return l.answerHello(q), nil })
	case kindPromise:
		return answerJSON(body, l.answerPromise)
	case kindAccept:
		return answerJSON(body, l.answerAccept)
	case kindSubmit:
		return l.answerSubmit(ctx, body)
	case kindCommit:
		return answerJSON(body, func(struct{}) (commitSaid, error) { return l.answerCommit(ctx) })
	}
	return nil, fmt.Errorf("the ledger is not asked %q", kind)
}

func (l *Ledger) notFounded() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Errorf("%w: %s", ErrNotFounded, l.whyNotFounded())
}

// whyNotFounded is called with mu held.
func (l *Ledger) whyNotFounded() string {
	missing := majority(l.cfg.Boards) - l.meeting.there
	switch {
	case l.files.identity.Ledger != 0:
		return "it is starting"
	case l.founder.crowded != "":
		return l.founder.crowded
	case l.files.identity.JoinOnly:
		return "this board's files were damaged; it waits for a board that has the ledger " +
			"(if none has: save what the damaged folders hold, then empty the ledger's folder on all boards)"
	case missing > 0:
		return fmt.Sprintf("waiting for %d more of %d boards", missing, l.cfg.Boards)
	}
	return "it is being founded"
}

// foreigners are the boards that belong to another ledger.
type foreigners struct {
	mu sync.Mutex // guards by
	by map[string]ledgerID
}

// met notes a board's ledger, if it is a foreign one, and says whether that
// is news.
func (f *foreigners) met(board string, id ledgerID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil {
		f.by = map[string]ledgerID{}
	}
	news := f.by[board] != id
	f.by[board] = id
	return news
}

// mended forgets a board that belongs to no other ledger any more.
func (f *foreigners) mended(board string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.by, board)
}

func (f *foreigners) names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for n := range f.by {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (f *foreigners) text() string { return strings.Join(f.names(), ", ") }
