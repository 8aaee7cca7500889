package ledger

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// meeting is what this board knows of the others from asking them.
//
// Its fields are guarded by Ledger.mu.
type meeting struct {
	there int // boards that answered in the last round, this one included
	led   time.Time
	seen  map[string]met // while leading
}

type met struct {
	said helloSaid
	at   time.Time
}

// meet asks the other boards how they are, every Timing.Meet until ctx ends:
// all of them while there is no ledger or this board leads, else the leader.
func (l *Ledger) meet(ctx context.Context) {
	for {
		l.meetOnce(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(l.cfg.Timing.Meet):
		}
	}
}

func (l *Ledger) meetOnce(ctx context.Context) {
	l.mu.Lock()
	self, id := l.seatLocked(), l.files.identity.Ledger
	l.mu.Unlock()
	if id == 0 {
		l.meetUnfounded(ctx, self)
		return
	}
	r := l.live()
	if r == nil {
		return
	}
	if r.State() == raft.Leader {
		l.meetLeading(ctx, r, self, id)
		return
	}
	l.mu.Lock()
	l.meeting.led, l.meeting.seen = time.Time{}, nil
	l.mu.Unlock()
	if leader, _, ok := l.leader(); ok && leader != l.cfg.Name {
		l.askClock(ctx, leader, self, id)
	}
}

// others are the live boards' names without this one's.
func (l *Ledger) others() []seat {
	var seats []seat
	for _, name := range l.cfg.Live() {
		if name != l.cfg.Name && name != "" && len(name) <= maxName && len(seats) < maxBoards {
			seats = append(seats, seat{Name: name})
		}
	}
	return seats
}

func (l *Ledger) meetUnfounded(ctx context.Context, self seat) {
	others := l.others()
	said := askAll[helloSaid](ctx, l, others, kindHello, helloAsk{Seat: self})
	live := []seat{self}
	var found *helloSaid
	for _, s := range said {
		live = append(live, s.Seat)
		if s.Ledger == 0 {
			continue
		}
		if found != nil && found.Ledger != s.Ledger {
			l.cfg.Logger.Error("ledger: the rack has two ledgers, so this board joins neither",
				"one", found.Seat.Name, "other", s.Seat.Name)
			return
		}
		found = &s
	}
	l.mu.Lock()
	l.meeting.there = len(live)
	l.mu.Unlock()
	if found != nil {
		l.cfg.Logger.Info("ledger: joining", "ledger", found.Ledger, "told_by", found.Seat.Name)
		if err := l.adopt(found.Ledger, found.First); err != nil {
			l.cfg.Logger.Error("ledger: it cannot be written down which ledger this board joins", "err", err)
		}
		return
	}
	l.foundingStep(ctx, live, len(others)+1)
}

func (l *Ledger) answerHello(q helloAsk) helloSaid {
	l.mu.Lock()
	s := helloSaid{Seat: l.seatLocked(), Ledger: l.files.identity.Ledger, First: l.files.identity.First}
	r := l.raft
	l.mu.Unlock()
	l.compare(s.Ledger, q.Seat.Name, q.Ledger)
	st := l.applier.state()
	s.Index = st.index
	s.Trouble = l.trouble(st)
	s.Foreign = l.foreign.names()
	s.Leading = r != nil && r.State() == raft.Leader
	now, known := l.clock.now()
	s.Clock, s.Known, s.Set = now.UnixNano(), known, l.clock.ownSet()
	return s
}

// trouble is why this board should not vote.
func (l *Ledger) trouble(st state) string {
	if st.halted != "" {
		return st.halted
	}
	if t := l.files.log.trouble.Load(); t != nil {
		return *t
	}
	return ""
}

// compare notes whether a board belongs to another ledger than this one.
func (l *Ledger) compare(own ledgerID, board string, theirs ledgerID) {
	switch {
	case own == 0 || board == "" || len(board) > maxName:
	case theirs == 0 || theirs == own:
		l.foreign.mended(board)
	case l.foreign.met(board, theirs):
		l.cfg.Logger.Error("ledger: the rack has two ledgers; neither takes commands. They were founded apart, with too "+
			"small a planned number of boards: keep the one with the orders, wipe the cards of the other's boards",
			"own", own, "board", board, "theirs", theirs)
	}
}

func (l *Ledger) meetLeading(ctx context.Context, r *raft.Raft, self seat, id ledgerID) {
	l.clock.lead()
	others := l.others()
	said := askAll[helloSaid](ctx, l, others, kindHello, helloAsk{Seat: self, Ledger: id})
	now := time.Now()
	l.mu.Lock()
	m := &l.meeting
	if m.led.IsZero() {
		m.led, m.seen = now, map[string]met{}
	}
	for _, s := range said {
		if s.Ledger == id {
			m.seen[s.Seat.Name] = met{s, now}
		}
	}
	m.there = len(said) + 1
	l.mu.Unlock()
	for _, s := range said {
		l.compare(id, s.Seat.Name, s.Ledger)
	}
	l.upkeep(ctx, r, self, now)
	l.handOver(ctx, r, said)
}

// upkeep carries out the next step of the plan.
func (l *Ledger) upkeep(ctx context.Context, r *raft.Raft, self seat, now time.Time) {
	get := r.GetConfiguration()
	if get.Error() != nil {
		return
	}
	st := l.applier.state()
	v := view{Leader: self.ID, Index: st.index, Boards: map[string]report{
		self.Name: {Seat: self, Index: st.index}}}
	l.mu.Lock()
	led := l.meeting.led
	for name, m := range l.meeting.seen {
		v.Boards[name] = report{Seat: m.said.Seat, Silent: now.Sub(m.at), Index: m.said.Index, Trouble: m.said.Trouble != ""}
	}
	l.mu.Unlock()
	for _, s := range get.Configuration().Servers {
		m := member{seat{string(s.ID), string(s.Address)}, s.Suffrage == raft.Voter}
		v.Members = append(v.Members, m)
		if _, ok := v.Boards[m.Name]; !ok {
			v.Boards[m.Name] = report{Seat: m.seat, Silent: now.Sub(led)}
		}
	}
	s := plan(v, l.cfg.Timing)
	var f raft.IndexFuture
	id, address, at, wait := raft.ServerID(s.Seat.ID), raft.ServerAddress(s.Seat.Name), get.Index(), l.cfg.Timing.Ask
	switch s.Do {
	case add:
		f = r.AddNonvoter(id, address, at, wait)
	case promote:
		f = r.AddVoter(id, address, at, wait)
	case demote:
		f = r.DemoteVoter(id, at, wait)
	case remove:
		f = r.RemoveServer(id, at, wait)
	default:
		return
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timing.Wire)
	defer cancel()
	err := await(ctx, f)
	l.cfg.Logger.Info("ledger: upkeep", "step", s.Do, "board", s.Seat.Name, "why", s.Why, "err", err)
}

// handOver gives the lead away if this board does not know the time, or its
// machine stands still, and another voter is better off.
func (l *Ledger) handOver(ctx context.Context, r *raft.Raft, said []helloSaid) {
	_, known := l.clock.now()
	if known && l.clock.ownSet() && l.applier.state().halted == "" {
		return
	}
	get := r.GetConfiguration()
	if get.Error() != nil {
		return
	}
	for _, s := range said {
		if !s.Set || s.Trouble != "" || !slices.ContainsFunc(get.Configuration().Servers, func(m raft.Server) bool {
			return m.Suffrage == raft.Voter && string(m.ID) == s.Seat.ID
		}) {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, l.cfg.Timing.Wire)
		defer cancel()
		err := await(ctx, r.LeadershipTransferToServer(raft.ServerID(s.Seat.ID), raft.ServerAddress(s.Seat.Name)))
		l.cfg.Logger.Info("ledger: the lead is handed over", "to", s.Seat.Name, "err", err)
		return
	}
}

// askClock learns the time from the leader.
func (l *Ledger) askClock(ctx context.Context, leader string, self seat, id ledgerID) {
	body, err := json.Marshal(helloAsk{Seat: self, Ledger: id})
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timing.Ask)
	defer cancel()
	sent := l.clock.count()
	b, err := l.cfg.Link.Ask(ctx, leader, kindHello, body)
	if err != nil {
		return
	}
	said, err := readJSON[helloSaid](b)
	if err != nil {
		return
	}
	l.compare(id, leader, said.Ledger)
	if said.Known && said.Leading {
		l.clock.learn(time.Unix(0, said.Clock), sent)
	}
}

// watchLeadership opens every term that this board leads in.
func (l *Ledger) watchLeadership(ctx context.Context) {
	r := l.live()
	if r == nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case leads := <-r.LeaderCh():
			if leads {
				l.clock.lead()
				l.open(ctx)
			}
		}
	}
}

func answerJSON[Q, A any](body []byte, answer func(Q) (A, error)) ([]byte, error) {
	q, err := readJSON[Q](body)
	if err != nil {
		return nil, err
	}
	a, err := answer(q)
	if err != nil {
		return nil, err
	}
	return json.Marshal(a)
}
