package ledger

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"bramble/cluster/durable"
)

// Ledger is one board's part in the rack's ledger. All methods are safe for
// concurrent use.
type Ledger struct {
	cfg            Config
	applier        *applier
	queue          *commandQueue
	pending        pendingBatches
	proposed       batchDedup
	clock          *ledgerClock
	otherLedgers   foreignBoards
	catchUp        catchUpState
	known          *knownServers
	damagedAtStart string // see Status.Damaged
	// offersRulesAt is the time from which this board offers the newest rules that it knows.
	offersRulesAt time.Time

	sender    uint64        // batchID.Sender of this start
	lastBatch atomic.Uint64 // number of the last batch

	founded chan struct{} // closed when this board belongs to a ledger
	restart chan struct{} // holds one signal when Run must end with ErrRestart
	stopped chan struct{} // closed when Run ends

	compacted    atomic.Uint64 // index up to which no file has entries, as far as the state machine was told
	snapshotting sync.Mutex    // held while a snapshot is taken
	// stamping is held from the stamp of an entry until raft has it, so that stamps are in
	// the order of the log, and until an entry that moves the clock is applied.
	stamping sync.Mutex
	// surveyNow makes runSurvey begin the next survey at once.
	surveyNow chan struct{}

	mu       sync.Mutex // guards all below
	files    *boardFiles
	founding foundingState
	survey   surveyState
	raft     *raft.Raft // nil unless it runs
	streams  *raftStreams
	votes    *voteTransport
	running  bool
	// superseded is the ledger for which an operator gave this board's up, "" if none.
	superseded string
}

// Limits of raft itself.
const (
	// cachedEntries is the number of entries cached in memory, so that followers
	// are served without reading the card.
	cachedEntries = 64
	// maxAppendEntries limits the entries in one message to a follower, and the
	// batches that share one sync.
	maxAppendEntries = 64
	// trailingLogs is the least number of entries that stay in the log after a snapshot,
	// so that a board that was away briefly needs no snapshot; see createSnapshot.
	trailingLogs = 128
	// pooledStreams is the number of streams that stay open to each board.
	pooledStreams = 3
)

// Open checks the ledger's files and prepares everything; nothing runs before Run.
// Run restores the state machine from the newest snapshot at once. It applies the log
// after that when a leader reports how much of it is committed: until then the state
// machine is as old as the snapshot. Damaged files are set aside (see Status.Damaged).
// The error is ErrDamaged if the files are damaged and this is the rack's only board, and
// ErrInUse if another process has them open.
func Open(cfg Config) (*Ledger, error) {
	if err := cfg.checkAndSetDefaults(); err != nil {
		return nil, err
	}
	lock, err := durable.LockDir(cfg.Dir) // two processes would destroy it
	if errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("%w: another board runs on %s (%w): stop it, or give this board a directory of its own", ErrInUse, cfg.Dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("lock the ledger's directory: %w", err)
	}
	f, damaged, err := openOrSetAside(&cfg)
	if err != nil {
		lock.Release()
		return nil, err
	}
	f.lock = lock
	l := &Ledger{
		cfg:            cfg,
		queue:          newQueue(),
		pending:        pendingBatches{by: map[batchID]chan batchResponse{}},
		clock:          newClock(cfg.Clock),
		damagedAtStart: damaged,
		sender:         randomUint64(),
		surveyNow:      make(chan struct{}, 1),
		founded:        make(chan struct{}),
		restart:        make(chan struct{}, 1),
		stopped:        make(chan struct{}),
		files:          f,
	}
	l.compacted.Store(max(f.log.oldestOnDisk(), 1) - 1) // what is older is in the snapshot alone
	l.applier = newApplier(&cfg, l.pending.resolve)
	l.applier.stopped = l.stopped
	if f.identity.Ledger != 0 || f.identity.JoinOnly { // else its program can go back to nothing
		l.offersRulesAt = time.Now().Add(cfg.Timing.RulesWait)
	}
	if l.applier.replayEnd, l.applier.replayTerm, err = l.findReplayEnd(); err != nil {
		f.close()
		return nil, err
	}
	l.applier.onCommitted = f.log.noteCommitted
	l.applier.onStamp = l.clock.observeStamp
	l.known, err = readKnownServers(f.stable)
	if err = errors.Join(err, f.stable.getJSON(keyAcceptor, &l.founding.acceptor)); err != nil {
		f.close()
		return nil, err
	}
	if f.identity.Ledger != 0 {
		close(l.founded)
	}
	return l, nil
}

// Close closes the files of a ledger whose Run was never called.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running {
		return errors.New("ledger: Close is for a ledger that does not run: end Run's context instead")
	}
	l.running = true
	close(l.stopped)
	l.files.close()
	return nil
}

// Run takes part in the ledger until ctx ends, and then returns nil, or ErrRestart. Call
// it once.
// Commands that are queued end with ErrStopped, those in flight with ErrUncertain.
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
		l.queue.failAll(ErrStopped)
		l.stopRaft()
		all.Wait()
		l.files.close()
	}()
	all.Go(func() { l.runSurvey(ctx) })
	select {
	case <-l.founded:
	case <-l.restart:
		return ErrRestart
	case <-ctx.Done():
		return nil
	}
	if err := l.startRaft(ctx); err != nil {
		return fmt.Errorf("start the ledger: %w", err)
	}
	for range maxBatchesInFlight {
		all.Go(func() { l.runSender(ctx) })
	}
	all.Go(func() { l.watchLeadership(ctx) })
	all.Go(func() { l.runSnapshots(ctx) })
	all.Go(func() { l.runCatchUp(ctx) })
	select {
	case <-l.restart:
		return ErrRestart
	case <-ctx.Done():
		return nil
	}
}

func (l *Ledger) startRaft(ctx context.Context) error {
	t := l.cfg.Timing
	log := hclogAdapter{ctx: ctx, log: l.cfg.Logger}
	l.mu.Lock()
	id := l.files.identity
	l.mu.Unlock()
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(id.Server)
	conf.HeartbeatTimeout, conf.ElectionTimeout = t.Heartbeat, t.Election
	conf.LeaderLeaseTimeout, conf.CommitTimeout = t.Lease, t.Commit
	conf.MaxAppendEntries, conf.BatchApplyCh = maxAppendEntries, true
	conf.TrailingLogs = trailingLogs
	// runSnapshots decides when one is due.
	conf.SnapshotInterval, conf.SnapshotThreshold = time.Hour, math.MaxUint64
	conf.ShutdownOnRemove = false
	conf.NoLegacyTelemetry = true
	conf.Logger = log

	s := newStreams(id.Server, l.cfg.Transport, l)
	trans := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Logger: log, Stream: s, ServerAddressProvider: s, MaxPool: pooledStreams, Timeout: t.RPC, MsgpackUseNewTimeFormat: true,
		// One message to a follower at a time. raft 1.8's pipeline can lock up
		// for good when a response fails while the next message is being sent:
		// its decoder is gone, its sender waits for it, and the follower gets
		// heartbeats but no entries.
		MaxRPCsInFlight: 1})
	votes := &voteTransport{NetworkTransport: trans, requests: make(chan raft.RPC),
		configuration: func() []raft.Server { return listMembers(l.runningRaft()) },
		hasLeader:     func() bool { _, _, ok := l.currentLeader(); return ok }}
	bootstrap := bootstrapConfig{id.Ledger, id.FirstVoters}
	if slices.ContainsFunc(bootstrap.Voters, func(s raftServer) bool { return s.ID == id.Server }) {
		if err := l.files.bootstrapLog(bootstrap.raftConfiguration()); err != nil {
			return fmt.Errorf("bootstrap raft with the first voters: %w", err)
		}
	}
	logs, err := raft.NewLogCache(cachedEntries, l.files.log)
	if err != nil {
		return err
	}
	l.files.log.overruled = l.requestRestart
	r, err := raft.NewRaft(conf, l.applier, logs, l.files.log, l.files.raftSnapshots(l.requestRestart), votes)
	if err != nil {
		trans.Close()
		s.Close()
		return err
	}
	go votes.relayRequests(s.done) // stopRaft closes the streams
	l.mu.Lock()
	l.raft, l.streams, l.votes = r, s, votes
	l.requestSurvey() // the other boards learn of this start
	l.mu.Unlock()
	return nil
}

func (l *Ledger) stopRaft() {
	l.mu.Lock()
	r, s, votes := l.raft, l.streams, l.votes
	l.raft, l.streams, l.votes = nil, nil, nil
	l.mu.Unlock()
	if r == nil {
		return
	}
	stopping := r.Shutdown()
	s.Close()
	stopping.Error() // waits for raft's goroutines; raft closes the transport
	votes.heartbeats.close()
}

// runningRaft returns raft if it runs, else nil.
func (l *Ledger) runningRaft() *raft.Raft {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.raft
}

// currentLeader returns the leading board and its term, as far as this board knows.
func (l *Ledger) currentLeader() (board string, term uint64, ok bool) {
	r := l.runningRaft()
	if r == nil {
		return "", 0, false
	}
	term = r.CurrentTerm()
	_, id := r.LeaderWithID()
	if id == "" || r.CurrentTerm() != term {
		return "", 0, false
	}
	return l.boardName(string(id)), term, true
}

// Accept takes a stream that another board opened with Transport.Stream. It owns the
// connection from now on, and returns after a short handshake at the latest.
func (l *Ledger) Accept(conn net.Conn, board string) {
	l.mu.Lock()
	s := l.streams
	l.mu.Unlock()
	if s == nil {
		conn.Close()
		return
	}
	if err := s.acceptStream(conn, board); err != nil {
		l.cfg.Logger.Debug("ledger: a stream was refused", "board", board, "error", err)
	}
}

// HandleCall answers a Transport.Call of another board: it returns the response.
func (l *Ledger) HandleCall(ctx context.Context, board, kind string, body []byte) ([]byte, error) {
	select {
	case <-l.stopped:
		return nil, ErrStopped
	default:
	}
	if len(body) > MaxCallBytes {
		return nil, fmt.Errorf("%w: a request of %d bytes", ErrTooLarge, len(body))
	}
	switch kind {
	case kindHello:
		return handleJSON(body, func(request helloRequest) (helloResponse, error) { return l.handleHello(request), nil })
	case kindPrepare:
		return handleJSON(body, l.handlePrepare)
	case kindAccept:
		return handleJSON(body, l.handleAccept)
	case kindSubmit:
		return l.handleSubmit(ctx, body)
	case kindClock:
		return handleJSON(body, func(struct{}) (ClockReport, error) { return l.ownClockReport(), nil })
	case kindSetClock:
		return handleJSON(body, func(request setClockRequest) (setClockResponse, error) { return l.handleSetClock(ctx, request), nil })
	case kindCommitIndex:
		return handleJSON(body, func(request commitIndexRequest) (commitIndexResponse, error) {
			if request.Ledger != l.ledger() {
				return commitIndexResponse{}, nil
			}
			return l.handleCommitIndex(ctx)
		})
	case kindFound:
		return handleJSON(body, func(word foundRequest) (struct{}, error) { return struct{}{}, l.allowFounding(word) })
	case kindRecover:
		return handleJSON(body, func(request recoverRequest) (recoverResponse, error) { return l.handleRecover(ctx, request) })
	case kindChoose:
		return handleJSON(body, func(request chooseRequest) (struct{}, error) { return struct{}{}, l.applyChoice(request) })
	}
	return nil, fmt.Errorf("the ledger has no call of kind %q", kind)
}

func (l *Ledger) notFounded() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Errorf("%w: %s", ErrNotFounded, l.whyNotFounded())
}

// whyNotFounded returns why raft does not run. mu is held.
func (l *Ledger) whyNotFounded() string {
	missing := l.foundingQuorum() - l.survey.reachable
	switch {
	case l.files.identity.Ledger != 0:
		return "it is starting"
	case l.survey.whyNotJoin != "":
		return l.survey.whyNotJoin
	case l.founding.planFault != "":
		return l.founding.planFault
	case l.files.identity.JoinOnly:
		return fmt.Sprintf("this board lost its files (%s), and waits for a board that has the ledger%s", l.files.identity.Lost, l.survey.offer)
	case l.survey.lost != "":
		return fmt.Sprintf("%s lost the files of an earlier ledger, and no board that answers has it%s", l.survey.lost, l.survey.offer)
	case missing > 0 && l.survey.reachable >= majorityOf(l.cfg.Boards):
		return fmt.Sprintf("waiting for %d more of %d boards; if this rack has fewer, set [rack] expected_boards%s", missing, l.cfg.Boards, l.survey.offer)
	case missing > 0:
		return fmt.Sprintf("waiting for %d more of %d boards", missing, l.cfg.Boards)
	}
	return "it is being founded"
}

// offerFounding returns what an operator can do if the boards that have the ledger never come, "" if a
// board that answers has entries: then nothing is founded.
func offerFounding(hellos []helloResponse) string {
	if slices.ContainsFunc(hellos, func(h helloResponse) bool { return h.hasEntries() }) {
		return ""
	}
	return "; if no board has orders any more: bramble ledger found"
}

// ledger returns the ledger that this board belongs to, 0 if none.
func (l *Ledger) ledger() ledgerID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.files.identity.Ledger
}
