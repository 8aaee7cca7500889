// Package purge replicates purges over a rack: each board keeps a log of what every process purged,
// and boards exchange what the other lacks, by version vector, once a second and after each new purge
// (anti-entropy). It also holds the lease on memory: whether a board was in touch with most of its rack
// so recently that it may answer from its cache.
//
// The log (log.go) is a pure data structure; the Syncer (sync.go, confirm.go, lease.go) moves it over
// the rack link.
package purge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bramble/cluster/link"
)

// SyncPath takes pulses on the rack link.
const SyncPath = "/v1/pulse"

const (
	// maxMessage bounds one message in bytes: a whole vector and a whole batch
	// of the longest purges.
	maxMessage = 8 << 20
	// maxRounds bounds the messages of one exchange; the next second goes on.
	maxRounds = 2 + maxRecords/maxBatch
	// retryPause is the pause before a purge is sent again to a board that did
	// not take it.
	retryPause = 100 * time.Millisecond
)

// SyncTiming says how fresh a board's knowledge of purges is kept.
type SyncTiming struct {
	// Interval between pulses to each peer. Every board pulses every other one,
	// so the work of each grows with the size of the rack.
	Interval time.Duration
	// Lease is how long a board may answer from memory after it was last in
	// touch with most of its rack: three pulses, so that one lost does no harm.
	Lease time.Duration
	// MaxPause is the gap between two ticks after which a board takes it that it
	// was stopped and others went on. It must be less than the time for which
	// Spread tries to reach a board: who was called absent must notice that it was.
	MaxPause time.Duration
	// ExchangeTimeout bounds one exchange with one board, however it answers.
	ExchangeTimeout time.Duration
}

// DefaultTiming suits a rack of 2 to 32 boards.
func DefaultTiming() SyncTiming {
	return SyncTiming{Interval: time.Second, Lease: 3 * time.Second, MaxPause: 800 * time.Millisecond, ExchangeTimeout: link.DefaultPeerTimeout / 2}
}

// Roster says who is in the rack.
type Roster interface {
	// Peers are the live boards without this one.
	Peers() []link.Peer
	// Known counts this board, the live ones, and the dead ones that have
	// neither left nor been forgotten.
	Known() int
}

// Caller reaches a board over the rack link (Link.Control).
type Caller interface {
	Control(ctx context.Context, board string, r *http.Request) (*http.Response, error)
}

// Syncer keeps the rack's purge logs equal. Each second every board tells each
// other one the digest of what it has obeyed, and where two differ they exchange
// what is missing; a new purge travels at once the same way.
//
// It also knows when this board's memory can be believed: only while the board
// was in touch with most of its rack a moment ago. A board that was stopped or
// cut off first learns what it missed (Sync), or must ask the origin.
type Syncer struct {
	log    *ReplicatedLog
	caller Caller
	roster Roster
	timing SyncTiming
	slog   *slog.Logger
	birth  time.Time // for a monotonic clock in nanoseconds

	lease atomic.Int64 // believed until this time after birth
	tick  atomic.Int64 // last sign of this process running

	mu           sync.Mutex               // guards what follows
	contact      map[string]time.Duration // when the last good exchange with a board began
	contactsFrom time.Duration            // contacts begun before this count no more
	renewFailed  time.Duration            // when Sync last found no majority
	vectors      map[string]Vector
	confirming   map[string]chan struct{} // one caller of Confirm a board
	catching     map[string]*catchUp
	syncing      *catchUp
}

// catchUp is an exchange that several callers wait for.
type catchUp struct {
	done chan struct{}
	err  error
}

// NewSyncer returns a Purger; Run must be running for its lease to hold.
func NewSyncer(log *ReplicatedLog, call Caller, roster Roster, timing SyncTiming, logger *slog.Logger) *Syncer {
	p := &Syncer{
		log: log, caller: call, roster: roster, timing: timing, slog: logger,
		birth:      time.Now(),
		contact:    map[string]time.Duration{},
		vectors:    map[string]Vector{},
		confirming: map[string]chan struct{}{},
		catching:   map[string]*catchUp{},
	}
	p.updateLease()
	return p
}

// Now is the time since the purger was made.
func (p *Syncer) Now() time.Duration { return time.Since(p.birth) }

// Run sends pulses until ctx ends.
func (p *Syncer) Run(ctx context.Context) {
	step := min(p.timing.MaxPause/4, p.timing.Interval)
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	var running sync.WaitGroup
	defer running.Wait()
	busy := make(map[string]*atomic.Bool)
	next := p.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		p.noteTick()
		if p.Now() < next {
			continue
		}
		next = p.Now() + p.timing.Interval
		peers := p.roster.Peers()
		p.forgetAbsent(peers, busy)
		p.updateLease()
		for _, peer := range peers {
			flag := busy[peer.Name]
			if flag == nil {
				flag = new(atomic.Bool)
				busy[peer.Name] = flag
			}
			if !flag.CompareAndSwap(false, true) {
				continue // the last pulse still waits for its answer
			}
			running.Go(func() {
				defer flag.Store(false)
				p.exchangeInBackground(ctx, peer.Name)
			})
		}
	}
}

func (p *Syncer) forgetAbsent(peers []link.Peer, busy map[string]*atomic.Bool) {
	live := make(map[string]bool, len(peers))
	for _, peer := range peers {
		live[peer.Name] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for name := range p.vectors {
		if !live[name] {
			delete(p.vectors, name)
		}
	}
	for name := range p.confirming {
		if !live[name] {
			delete(p.confirming, name)
		}
	}
	for name := range p.contact {
		if !live[name] {
			delete(p.contact, name)
		}
	}
	for name, flag := range busy {
		if !live[name] && !flag.Load() {
			delete(busy, name)
		}
	}
}

// exchangeInBackground is one pulse to one peer; only a failure that matters is logged.
func (p *Syncer) exchangeInBackground(ctx context.Context, board string) {
	if err := p.exchange(ctx, board, false); err != nil && ctx.Err() == nil && !errors.Is(err, link.ErrPeerSilent) && !errors.Is(err, link.ErrUnknownPeer) {
		p.slog.Warn("purges: exchange failed", "board", board, "error", err)
	}
}

// Issue obeys a purge here. Other boards obey it with the next pulse, or before
// they answer this one's next request.
func (p *Syncer) Issue(purge Purge) error { return p.log.Issue(purge) }

// Spread tells every live board what this one has obeyed. It returns who has
// obeyed all of it when wait is over or all have; the others learn it from a
// pulse before they answer from memory again.
func (p *Syncer) Spread(ctx context.Context, wait time.Duration) (obeyed, absent []string) {
	want := p.log.Vector()
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var (
		running sync.WaitGroup
		mu      sync.Mutex // guards obeyed, absent
	)
	for _, peer := range p.roster.Peers() {
		running.Go(func() {
			done := p.exchangeUntilApplied(ctx, peer.Name, want)
			mu.Lock()
			defer mu.Unlock()
			if done {
				obeyed = append(obeyed, peer.Name)
			} else {
				absent = append(absent, peer.Name)
			}
		})
	}
	running.Wait()
	slices.Sort(obeyed)
	slices.Sort(absent)
	return obeyed, absent
}

// exchangeUntilApplied tries until a board has obeyed what want says, or ctx ends. Only a
// board that was silent for all of that time is called absent: it has then been
// away for longer than PulseTiming.Freeze, and knows that it has.
func (p *Syncer) exchangeUntilApplied(ctx context.Context, board string, want Vector) bool {
	for {
		err := p.exchange(ctx, board, true)
		if err == nil && p.hasApplied(board, want) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(retryPause):
		}
	}
}

// CatchUp makes sure that this board has obeyed what another has, whose digest
// came with a request. Callers for the same board share one exchange.
func (p *Syncer) CatchUp(ctx context.Context, board string, digest uint64) error {
	if p.log.Digest() == digest {
		return nil
	}
	p.mu.Lock()
	c := p.catching[board]
	if c == nil {
		c = &catchUp{done: make(chan struct{})}
		p.catching[board] = c
		p.mu.Unlock()
		c.err = p.exchange(context.WithoutCancel(ctx), board, false)
		p.mu.Lock()
		delete(p.catching, board)
		p.mu.Unlock()
		close(c.done)
		return c.err
	}
	p.mu.Unlock()
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return fmt.Errorf("catching up with %s: %w", board, ctx.Err())
	}
}

// Digest goes with every request to another board, for its CatchUp.
func (p *Syncer) Digest() uint64 { return p.log.Digest() }

// syncMessage is the one message of the exchange, both as question and as answer.
type syncMessage struct {
	Digest uint64  `json:"digest,string"`
	Vector Vector  `json:"vector"`          // null where the digests are equal
	Batch  []Range `json:"batch,omitempty"` // what the other side lacks, as far as known
}

// exchange talks with a board until both have obeyed the same, and notes the
// contact. With push the first message already carries what the board lacked
// when it was last heard.
func (p *Syncer) exchange(ctx context.Context, board string, push bool) error {
	ctx, cancel := context.WithTimeout(ctx, p.timing.ExchangeTimeout)
	defer cancel()
	began := p.Now()
	out := syncMessage{Digest: p.log.Digest()}
	if push {
		p.mu.Lock()
		known := p.vectors[board]
		p.mu.Unlock()
		if known != nil {
			out.Vector, out.Batch = p.log.Vector(), p.log.Missing(known)
		}
	}
	for range maxRounds {
		in, err := p.sendMessage(ctx, board, out)
		if err != nil {
			return err
		}
		if _, err := p.log.Merge(in.Batch); err != nil {
			return fmt.Errorf("what %s sent: %w", board, err)
		}
		if in.Vector != nil {
			p.mu.Lock()
			p.vectors[board] = in.Vector
			p.mu.Unlock()
		}
		mine := p.log.Vector()
		if in.Digest == mine.Digest() {
			p.mu.Lock()
			p.vectors[board] = mine
			p.mu.Unlock()
			p.noteContact(board, began)
			return nil
		}
		out = syncMessage{Digest: mine.Digest(), Vector: mine, Batch: p.log.Missing(in.Vector)}
	}
	return fmt.Errorf("purges: %s and this board do not come to agree in %d messages", board, maxRounds)
}

func (p *Syncer) sendMessage(ctx context.Context, board string, out syncMessage) (syncMessage, error) {
	body, err := json.Marshal(out)
	if err != nil {
		return syncMessage{}, fmt.Errorf("writing a pulse: %w", err)
	}
	r, err := http.NewRequest(http.MethodPost, "https://board"+SyncPath, bytes.NewReader(body))
	if err != nil {
		return syncMessage{}, fmt.Errorf("writing a pulse: %w", err)
	}
	resp, err := p.caller.Control(ctx, board, r)
	if err != nil {
		return syncMessage{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return syncMessage{}, fmt.Errorf("purges: %s answered a pulse with status %d", board, resp.StatusCode)
	}
	return readMessage(resp.Body)
}

func readMessage(r io.Reader) (syncMessage, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxMessage+1))
	if err != nil {
		return syncMessage{}, fmt.Errorf("reading a pulse: %w", err)
	}
	if len(data) > maxMessage {
		return syncMessage{}, fmt.Errorf("purges: a pulse of over %d bytes", maxMessage)
	}
	var in syncMessage
	if err := json.Unmarshal(data, &in); err != nil {
		return syncMessage{}, fmt.Errorf("reading a pulse: %w", err)
	}
	if len(in.Vector) > maxIssuers || len(in.Batch) > maxIssuers {
		return syncMessage{}, fmt.Errorf("purges: a pulse of over %d origins", maxIssuers)
	}
	return in, nil
}

// ServeHTTP answers another board's pulse.
func (p *Syncer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in, err := readMessage(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if _, err := p.log.Merge(in.Batch); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out := syncMessage{Digest: p.log.Digest()}
	if out.Digest != in.Digest {
		out.Vector = p.log.Vector()
		if in.Vector != nil {
			out.Batch = p.log.Missing(in.Vector)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(out); err != nil {
		p.slog.Debug("purges: answering a pulse", "board", link.PeerName(r), "error", err)
	}
}
