package ledger

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// surveyState is what this board knows of the others from asking them.
//
// Its fields are guarded by Ledger.mu.
type surveyState struct {
	reachable    int // boards that answered in the last round, this one included
	leadingSince time.Time
	answers      map[string]surveyAnswer // while leading
}

type surveyAnswer struct {
	hello helloResponse
	at    time.Time
}

// runSurvey asks the other boards how they are, every Timing.Meet until ctx ends:
// all of them while there is no ledger or this board leads, else the leader.
func (l *Ledger) runSurvey(ctx context.Context) {
	for {
		l.surveyOnce(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(l.cfg.Timing.Survey):
		}
	}
}

func (l *Ledger) surveyOnce(ctx context.Context) {
	l.mu.Lock()
	self, id := l.selfLocked(), l.files.identity.Ledger
	l.mu.Unlock()
	if id == 0 {
		l.surveyUnfounded(ctx, self)
		return
	}
	r := l.runningRaft()
	if r == nil {
		return
	}
	if r.State() == raft.Leader {
		l.surveyAsLeader(ctx, r, self, id)
		return
	}
	l.mu.Lock()
	l.survey.leadingSince, l.survey.answers = time.Time{}, nil
	l.mu.Unlock()
	if leader, _, ok := l.currentLeader(); ok && leader != l.cfg.Name {
		l.syncClock(ctx, leader, self, id)
	}
}

// otherBoards are the live boards' names without this one's.
func (l *Ledger) otherBoards() []raftServer {
	var seats []raftServer
	for _, name := range l.cfg.Live() {
		if name != l.cfg.Name && name != "" && len(name) <= maxName && len(seats) < maxBoards {
			seats = append(seats, raftServer{Name: name})
		}
	}
	return seats
}

func (l *Ledger) surveyUnfounded(ctx context.Context, self raftServer) {
	others := l.otherBoards()
	said := callAll[helloResponse](ctx, l, others, kindHello, helloRequest{Server: self})
	live := []raftServer{self}
	var found *helloResponse
	for _, s := range said {
		live = append(live, s.Server)
		if s.Ledger == 0 {
			continue
		}
		if found != nil && found.Ledger != s.Ledger {
			l.cfg.Logger.Error("ledger: the rack has two ledgers, so this board joins neither",
				"one", found.Server.Name, "other", s.Server.Name)
			return
		}
		found = &s
	}
	l.mu.Lock()
	l.survey.reachable = len(live)
	l.mu.Unlock()
	if found != nil {
		l.cfg.Logger.Info("ledger: joining", "ledger", found.Ledger, "told_by", found.Server.Name)
		if err := l.joinLedger(found.Ledger, found.FirstVoters); err != nil {
			l.cfg.Logger.Error("ledger: it cannot be written down which ledger this board joins", "err", err)
		}
		return
	}
	l.tryFounding(ctx, live, len(others)+1)
}

func (l *Ledger) handleHello(q helloRequest) helloResponse {
	l.mu.Lock()
	s := helloResponse{Server: l.selfLocked(), Ledger: l.files.identity.Ledger, FirstVoters: l.files.identity.FirstVoters}
	r := l.raft
	l.mu.Unlock()
	l.noteLedgerOf(s.Ledger, q.Server.Name, q.Ledger)
	st := l.applier.state()
	s.Index = st.index
	s.Trouble = l.whyNotVote(st)
	s.Foreign = l.foreign.sortedNames()
	s.Leading = r != nil && r.State() == raft.Leader
	now, known := l.clock.now()
	s.Clock, s.ClockKnown, s.OwnClockSet = now.UnixNano(), known, l.clock.ownClockSet()
	return s
}

// whyNotVote is why this board should not vote.
func (l *Ledger) whyNotVote(st applierState) string {
	if st.halted != "" {
		return st.halted
	}
	if t := l.files.log.trouble.Load(); t != nil {
		return *t
	}
	return ""
}

// noteLedgerOf notes whether a board belongs to another ledger than this one.
func (l *Ledger) noteLedgerOf(own ledgerID, board string, theirs ledgerID) {
	switch {
	case own == 0 || board == "" || len(board) > maxName:
	case theirs == 0 || theirs == own:
		l.foreign.remove(board)
	case l.foreign.add(board, theirs):
		l.cfg.Logger.Error("ledger: the rack has two ledgers; neither takes commands. They were founded apart, with too "+
			"small a planned number of boards: keep the one with the orders, wipe the cards of the other's boards",
			"own", own, "board", board, "theirs", theirs)
	}
}

func (l *Ledger) surveyAsLeader(ctx context.Context, r *raft.Raft, self raftServer, id ledgerID) {
	l.clock.slewToOwnClock()
	others := l.otherBoards()
	said := callAll[helloResponse](ctx, l, others, kindHello, helloRequest{Server: self, Ledger: id})
	now := time.Now()
	l.mu.Lock()
	m := &l.survey
	if m.leadingSince.IsZero() {
		m.leadingSince, m.answers = now, map[string]surveyAnswer{}
	}
	for _, s := range said {
		if s.Ledger == id {
			m.answers[s.Server.Name] = surveyAnswer{s, now}
		}
	}
	m.reachable = len(said) + 1
	l.mu.Unlock()
	for _, s := range said {
		l.noteLedgerOf(id, s.Server.Name, s.Ledger)
	}
	l.runAutopilot(ctx, r, self, now)
	l.transferLeadership(ctx, r, said)
}

// runAutopilot carries out the next step of the plan.
func (l *Ledger) runAutopilot(ctx context.Context, r *raft.Raft, self raftServer, now time.Time) {
	get := r.GetConfiguration()
	if get.Error() != nil {
		return
	}
	st := l.applier.state()
	v := clusterState{Leader: self.ID, Index: st.index, Boards: map[string]boardReport{
		self.Name: {Server: self, Index: st.index}}}
	l.mu.Lock()
	led := l.survey.leadingSince
	for name, m := range l.survey.answers {
		v.Boards[name] = boardReport{Server: m.hello.Server, Silent: now.Sub(m.at), Index: m.hello.Index, Trouble: m.hello.Trouble != ""}
	}
	l.mu.Unlock()
	for _, s := range get.Configuration().Servers {
		m := clusterMember{raftServer{string(s.ID), string(s.Address)}, s.Suffrage == raft.Voter}
		v.Members = append(v.Members, m)
		if _, ok := v.Boards[m.Name]; !ok {
			v.Boards[m.Name] = boardReport{Server: m.raftServer, Silent: now.Sub(led)}
		}
	}
	s := planChange(v, l.cfg.Timing)
	var f raft.IndexFuture
	id, address, at, wait := raft.ServerID(s.Server.ID), raft.ServerAddress(s.Server.Name), get.Index(), l.cfg.Timing.Call
	switch s.Action {
	case addNonvoter:
		f = r.AddNonvoter(id, address, at, wait)
	case promoteToVoter:
		f = r.AddVoter(id, address, at, wait)
	case demoteVoter:
		f = r.DemoteVoter(id, at, wait)
	case removeServer:
		f = r.RemoveServer(id, at, wait)
	default:
		return
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timing.RPC)
	defer cancel()
	err := awaitFuture(ctx, f)
	l.cfg.Logger.Info("ledger: upkeep", "step", s.Action, "board", s.Server.Name, "why", s.Why, "err", err)
}

// transferLeadership gives the lead away if this board does not know the time, or its
// machine stands still, and another voter is better off.
func (l *Ledger) transferLeadership(ctx context.Context, r *raft.Raft, said []helloResponse) {
	_, known := l.clock.now()
	if known && l.clock.ownClockSet() && l.applier.state().halted == "" {
		return
	}
	get := r.GetConfiguration()
	if get.Error() != nil {
		return
	}
	for _, s := range said {
		if !s.OwnClockSet || s.Trouble != "" || !slices.ContainsFunc(get.Configuration().Servers, func(m raft.Server) bool {
			return m.Suffrage == raft.Voter && string(m.ID) == s.Server.ID
		}) {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, l.cfg.Timing.RPC)
		defer cancel()
		err := awaitFuture(ctx, r.LeadershipTransferToServer(raft.ServerID(s.Server.ID), raft.ServerAddress(s.Server.Name)))
		l.cfg.Logger.Info("ledger: the lead is handed over", "to", s.Server.Name, "err", err)
		return
	}
}

// syncClock learns the time from the leader.
func (l *Ledger) syncClock(ctx context.Context, leader string, self raftServer, id ledgerID) {
	body, err := json.Marshal(helloRequest{Server: self, Ledger: id})
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timing.Call)
	defer cancel()
	sent := l.clock.monotonic()
	b, err := l.cfg.Transport.Call(ctx, leader, kindHello, body)
	if err != nil {
		return
	}
	said, err := readJSON[helloResponse](b)
	if err != nil {
		return
	}
	l.noteLedgerOf(id, leader, said.Ledger)
	if said.ClockKnown && said.Leading {
		l.clock.adoptLeaderTime(time.Unix(0, said.Clock), sent)
	}
}

// watchLeadership opens every term that this board leads in.
func (l *Ledger) watchLeadership(ctx context.Context) {
	r := l.runningRaft()
	if r == nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case leads := <-r.LeaderCh():
			if leads {
				l.clock.slewToOwnClock()
				l.openTerm(ctx)
			}
		}
	}
}

func handleJSON[Q, A any](body []byte, answer func(Q) (A, error)) ([]byte, error) {
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
