package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// The leader's part of the clock: it reads the boards' clocks with every survey, and
// carries out what decideClock decides.

const (
	// maxReadingAge is the age up to which a board's last answer counts: a board that
	// misses some surveys keeps its say.
	maxReadingAge = 10 * time.Second
	// maxReadingRoundTrip is the longest exchange whose reading counts.
	maxReadingRoundTrip = 2 * time.Second
	// clockHoldLogged is the time for which the clock must be held before the log says so. Right
	// after a start, not all boards have answered yet.
	clockHoldLogged = 5 * time.Second
	// MaxSetDisagreement is the largest difference between an operator's time and a board's that agree.
	MaxSetDisagreement = time.Minute
)

// ClockStatus is the state of the ledger's clock, as far as a board knows.
type ClockStatus struct {
	Time     time.Time `json:"time"`  // of the ledger's clock, UTC
	Known    bool      `json:"known"` // this board knows it
	Held     string    `json:"held"`  // why it does not follow the boards' clocks, "" if it does
	HeldFor  float64   `json:"held_seconds"`
	OwnAhead float64   `json:"own_ahead_seconds"` // this board's clock minus the ledger's
	OwnSet   bool      `json:"own_set"`           // this board's clock seems to be set
	// Trusted: things that cannot be undone may happen by this clock.
	Trusted bool `json:"trusted"`
	// WaitUntil is the time until which they wait after a step; zero if they do not.
	WaitUntil time.Time `json:"wait_until,omitzero"`
	// MustConfirm: they wait until an operator confirms the clock, or sets it back.
	MustConfirm bool `json:"must_confirm"`
	// Override: the clock stands as an operator set it, until most boards agree with it.
	Override bool `json:"override"`
}

// OwnDiffers reports whether this board's own clock is wrong, as far as the ledger's is right.
func (c ClockStatus) OwnDiffers() bool {
	return c.Known && c.Held == "" && c.OwnSet && math.Abs(c.OwnAhead) > maxSlew.Seconds()
}

// BoardClock is one board's own clock, as its rack's leader sees it.
type BoardClock struct {
	Board   string    `json:"board"`
	Heard   bool      `json:"heard"` // it has answered within the last seconds
	Time    time.Time `json:"time,omitzero"`
	Ahead   float64   `json:"ahead_seconds"` // of the ledger's clock
	Set     bool      `json:"set"`
	Servers int       `json:"servers"` // the number of time servers that agreed on it; 0 if unknown
}

// ClockReport is the ledger's clock and the boards' clocks, sorted by name.
type ClockReport struct {
	ClockStatus
	Leader string `json:"leader"`
	// Agreed is the time that most boards agree on, minus the ledger's clock, in seconds;
	// nil if they do not agree.
	Agreed *float64     `json:"agreed_ahead_seconds,omitempty"`
	Boards []BoardClock `json:"boards"`
}

// AgreedTime returns the time that most boards' own clocks agree on; zero if they do not.
func (r ClockReport) AgreedTime() time.Time {
	if r.Agreed == nil {
		return time.Time{}
	}
	return r.Time.Add(time.Duration(*r.Agreed * float64(time.Second)))
}

// reportClock adds what this board knows of the clocks to a response.
func (l *Ledger) reportClock(response *helloResponse, st applierState) {
	now, known := l.clock.now()
	own := l.clock.ownReading(l.cfg.Name)
	response.Clock, response.ClockKnown, response.ClockSetIndex = now.UnixNano(), known, st.marks.SetIndex
	response.OwnClock, response.OwnClockSet, response.OwnServers = l.cfg.Clock().UnixNano(), own.Set, own.Servers
	if response.Leading {
		why, since := l.clock.heldFor()
		response.ClockHeld, response.ClockHeldFor = why, int64(since)
	}
}

// adoptClock takes over the leader's clock from its response. The request left at sent.
func (l *Ledger) adoptClock(hello *helloResponse, sent time.Duration) {
	// Otherwise this board has not applied yet that an operator set the clock back, or
	// the leader had not.
	if hello.ClockSetIndex == l.applier.state().marks.SetIndex {
		l.clock.adoptLeaderTime(time.Unix(0, hello.Clock), sent)
	}
	l.clock.hold(hello.ClockHeld, time.Duration(hello.ClockHeldFor))
}

// learnClock takes over the leader's clock if this board does not know it yet. Until the next
// survey, a board that has just caught up would otherwise show by its own clock, which may be wrong,
// whether a sale is open. The request left at sent.
func (l *Ledger) learnClock(response commitIndexResponse, sent time.Duration) {
	if _, known := l.clock.now(); !known && response.Clock != 0 && response.ClockSetIndex == l.applier.state().marks.SetIndex {
		l.clock.adoptLeaderTime(time.Unix(0, response.Clock), sent)
	}
}

// readBoardClocks returns the clocks of the boards that have answered, this one's first.
func (l *Ledger) readBoardClocks() []clockReading {
	readings := []clockReading{l.clock.ownReading(l.cfg.Name)}
	now, _ := l.clock.now()
	count := l.clock.monotonic()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.survey.answers {
		h := a.hello
		if age := count - h.received; age <= maxReadingAge && h.roundTrip <= maxReadingRoundTrip {
			wall := time.Unix(0, h.OwnClock).Add(h.roundTrip/2 + age)
			readings = append(readings, clockReading{h.Server.Name, wall.Sub(now), h.OwnClockSet, h.OwnServers})
		}
	}
	return readings
}

// followBoardClocks moves the ledger's clock as the boards' clocks require. Before this
// board has applied everything of earlier terms, it does not know the ledger's time.
func (l *Ledger) followBoardClocks(ctx context.Context, r *raft.Raft) {
	begun, _ := l.clock.now()
	begunAt := l.clock.monotonic()
	d, ok := l.decideNow(r)
	if !ok {
		return
	}
	wasLogged := l.clock.isHoldLogged()
	l.clock.followDecision(d)
	switch isLogged := l.clock.isHoldLogged(); {
	case isLogged && !wasLogged:
		l.cfg.Logger.Error("ledger: the clock is held: draws, erasures and the end of invitations wait; \"bramble ledger clock\" shows the boards' clocks",
			"why", d.Held)
	case wasLogged && !isLogged:
		l.cfg.Logger.Info("ledger: the clock follows the boards' clocks again")
	}
	if d.Step > 0 || d.Follow {
		flags := uint32(flagClockStepped)
		if d.Far {
			flags |= flagClockFar
		}
		// An earlier step, whose outcome was uncertain, may be applied by then.
		response := l.moveClock(ctx, r, flags, nil, func(time.Time) time.Time { return begun.Add(d.Step + l.clock.monotonic() - begunAt) })
		if d.Step > 0 {
			l.cfg.Logger.Warn("ledger: most boards agree that it is later: the clock goes forward, and what cannot be undone waits",
				"step", roundClock(d.Step), "must_confirm", d.Far, "outcome", response.Status.String())
		}
		if response.Status == batchDone {
			l.clock.markKnown()
		}
	}
}

// decideNow decides how the ledger's clock moves now; ok is false if this board cannot know.
func (l *Ledger) decideNow(r *raft.Raft) (d clockDecision, ok bool) {
	st := l.applier.state()
	if st.term != r.CurrentTerm() {
		return d, false
	}
	l.mu.Lock()
	waited := time.Since(l.survey.leadingSince)
	l.mu.Unlock()
	in := l.clock.decisionInput()
	in.Readings, in.Waited, in.Voters = l.readBoardClocks(), waited, len(listVoters(r))
	now, _ := l.clock.now()
	in.Override, in.Stepped = st.marks.Override, now.Sub(st.marks.base(now))
	return decideClock(in), true
}

// moveClock commits an entry that moves the ledger's clock. No other entry is stamped
// until it is applied: observeStamp moves the clock of each board.
func (l *Ledger) moveClock(ctx context.Context, r *raft.Raft, flags uint32, commands [][]byte, to func(now time.Time) time.Time) batchResponse {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timing.RPC)
	defer cancel()
	l.stamping.Lock()
	defer l.stamping.Unlock()
	term, st := r.CurrentTerm(), l.applier.state()
	if r.State() != raft.Leader || st.term != term || st.halted != "" {
		return batchResponse{Status: batchRefused, Text: "this board does not lead, or has just begun to"}
	}
	now, _ := l.clock.now()
	stamp := to(now)
	if flags&flagClockSet == 0 {
		if !l.applier.state().marks.Override && stamp.Sub(now) <= maxSlew {
			return batchResponse{Status: batchDone} // it has been moved meanwhile
		}
		if stamp.Before(now.Add(2)) {
			stamp = now.Add(2) // an entry at the same time ends no override
		}
	}
	if flags&flagClockStepped != 0 {
		// The log knows then how far the clock goes, also after a quiet day.
		l.appendEntry(r, entry{Term: term, Stamp: now.Add(1), ID: batchID{l.sender, l.lastBatch.Add(1)}})
	}
	e := entry{Term: term, Stamp: stamp, ID: batchID{l.sender, l.lastBatch.Add(1)}, Flags: flags, Commands: commands}
	return awaitEntry(ctx, l.appendEntry(r, e))
}

// awaitClock waits, until ctx ends, while this board leads in a term but does not know
// the ledger's clock, or may not have applied yet what sets it.
func (l *Ledger) awaitClock(ctx context.Context, r *raft.Raft, term uint64) {
	for ctx.Err() == nil && r.State() == raft.Leader && r.CurrentTerm() == term {
		if _, known := l.clock.now(); known && l.applier.state().term == term {
			return
		}
		sleep(ctx, l.cfg.Timing.BatchWait)
	}
}

// clockStatus returns the state of the ledger's clock, as far as this board knows.
func (l *Ledger) clockStatus(st applierState) ClockStatus {
	own := l.clock.ownReading(l.cfg.Name)
	s := ClockStatus{OwnAhead: own.Ahead.Seconds(), OwnSet: own.Set, MustConfirm: st.marks.Far, Override: st.marks.Override}
	s.Time, s.Known = l.clock.now()
	why, since := l.clock.heldFor()
	s.Held, s.HeldFor = why, since.Seconds()
	if until := time.Unix(0, st.marks.WaitUntil).UTC(); until.After(s.Time) {
		s.WaitUntil = until
	}
	s.Trusted = s.Known && !s.MustConfirm && s.WaitUntil.IsZero() && (s.Held == "" || s.Override || l.clock.isConfirmed())
	return s
}

// Clock returns the ledger's clock and all boards' clocks, from the leader. Errors are
// those of Submit.
func (l *Ledger) Clock(ctx context.Context) (ClockReport, error) {
	return callLeader(ctx, l, kindClock, struct{}{}, func(context.Context, struct{}) ClockReport { return l.ownClockReport() },
		func(report ClockReport) bool { return report.Leader != "" })
}

// ownClockReport returns the report of this board. Without a Leader it is not complete.
func (l *Ledger) ownClockReport() ClockReport {
	report := ClockReport{ClockStatus: l.clockStatus(l.applier.state())}
	heard := map[string]bool{}
	for _, c := range l.readBoardClocks() {
		heard[c.Board] = true
		report.Boards = append(report.Boards, BoardClock{c.Board, true, report.Time.Add(c.Ahead), c.Ahead.Seconds(), c.Set, c.Servers})
	}
	r := l.runningRaft()
	if r != nil && r.State() == raft.Leader {
		report.Leader = l.cfg.Name
		if d, ok := l.decideNow(r); ok && d.Agreed {
			ahead := d.Target.Seconds()
			report.Agreed = &ahead
		}
	}
	for _, s := range listMembers(r) {
		if name := l.boardName(string(s.ID)); !heard[name] {
			report.Boards = append(report.Boards, BoardClock{Board: name})
		}
	}
	slices.SortFunc(report.Boards, func(a, b BoardClock) int { return cmp.Compare(a.Board, b.Board) })
	return report
}

// SetClock sets the ledger's clock by an operator's word, also back, or confirms it as
// it is, if to is zero. The command goes to the state machine in the same entry, to
// record it; the reply is the state machine's. Errors are those of Submit. Setting it
// twice does no harm.
//
// Setting is a jump like any other: what cannot be undone waits. After more than 30 days
// forward, and at a time that is later than every board's clock, it waits for a second call
// that confirms. A time that most boards do not agree with stands until they do.
func (l *Ledger) SetClock(ctx context.Context, to time.Time, command []byte) (reply []byte, index uint64, err error) {
	if len(command) > MaxCommand {
		return nil, 0, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(command), MaxCommand)
	}
	request := setClockRequest{Command: command}
	if !to.IsZero() {
		request.To = to.UnixNano()
	}
	response, err := callLeader(ctx, l, kindSetClock, request, l.handleSetClock,
		func(response setClockResponse) bool { return response.Status != batchRefused })
	switch {
	case err != nil:
		return nil, 0, err
	case response.Status == batchHalted:
		return nil, 0, fmt.Errorf("%w: %s", ErrHalted, response.Text)
	case response.Status != batchDone:
		return nil, 0, fmt.Errorf("%w: %s", ErrUncertain, response.Text)
	}
	return response.Reply, response.Index, nil
}

// handleSetClock is the leader's side of SetClock.
func (l *Ledger) handleSetClock(ctx context.Context, request setClockRequest) setClockResponse {
	r, st := l.runningRaft(), l.applier.state()
	switch {
	case r == nil:
		return setClockResponse{Status: batchRefused, Text: "this board has no ledger running"}
	case st.halted != "":
		return setClockResponse{Status: batchHalted, Text: st.halted}
	}
	before, _ := l.clock.now()
	flags := uint32(flagClockSet)
	d, ok := l.decideNow(r)
	if !ok {
		return setClockResponse{Status: batchRefused, Text: "this board does not lead, or has just begun to"}
	}
	if request.To != 0 {
		flags |= setClockFlags(st.marks.base(before), before, time.Unix(0, request.To), d, l.readBoardClocks())
	} else if st.marks.Override && !d.Follow || d.Target.Abs() > MaxSetDisagreement {
		flags |= flagClockOverride
	}
	response := l.moveClock(ctx, r, flags, [][]byte{request.Command}, func(now time.Time) time.Time {
		if request.To == 0 {
			return now
		}
		return time.Unix(0, request.To)
	})
	l.cfg.Logger.Warn("ledger: an operator sets the clock", "before", before, "to", time.Unix(0, request.To).UTC(),
		"confirmed_only", request.To == 0, "outcome", response.Status.String())
	out := setClockResponse{Status: response.Status, Index: response.Index, Text: response.Text}
	if len(response.Replies) == 1 {
		out.Reply = response.Replies[0]
	}
	if out.Status == batchDone {
		l.clock.markKnown()
		l.followBoardClocks(ctx, r) // so that the next report is of the new time
	}
	return out
}

// callLeader calls the leader, or handles the request here if this board leads, until
// the response is a leader's.
func callLeader[Request, Response any](ctx context.Context, l *Ledger, kind string, request Request,
	handle func(context.Context, Request) Response, isLeaders func(Response) bool) (response Response, err error) {
	body, err := json.Marshal(request)
	if err != nil {
		return response, err
	}
	for {
		if err := l.checkAccepting(); err != nil {
			return response, err
		}
		leader, _, ok := l.currentLeader()
		if ok && leader == l.cfg.Name {
			response = handle(ctx, request)
		} else if ok {
			b, err := l.cfg.Transport.Call(ctx, leader, kind, body)
			if err == nil {
				response, err = readJSON[Response](b)
			}
			if ok = !errors.Is(err, ErrNotSent); ok && err != nil {
				return response, fmt.Errorf("%w: %w", ErrUncertain, err)
			}
		}
		if ok && isLeaders(response) {
			return response, nil
		}
		sleep(ctx, l.cfg.Timing.Retry)
		if err := ctx.Err(); err != nil {
			return response, fmt.Errorf("%w: %w", ErrNoMajority, err)
		}
	}
}
