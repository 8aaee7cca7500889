package ledger

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// surveyState holds the results of this board's surveys.
//
// Ledger.mu guards its fields.
type surveyState struct {
	reachable    int                     // boards that answered the last survey, this one included
	leadingSince time.Time               // zero while another board leads
	answers      map[string]surveyAnswer // by board name, while this board leads
	maxRules     map[string]uint32       // by server id: see noteMaxRules
	rulesHeldBy  []string                // see Status
}

type surveyAnswer struct {
	hello helloResponse
	at    time.Time
}

// runSurvey sends a hello to the other boards every Timing.Survey until ctx ends: to
// all of them while there is no ledger or this board leads, else to the leader.
func (l *Ledger) runSurvey(ctx context.Context) {
	for {
		l.surveyOnce(ctx)
		next := time.NewTimer(l.cfg.Timing.Survey)
		select {
		case <-ctx.Done():
		case <-l.surveyNow:
		case <-next.C:
		}
		if next.Stop(); ctx.Err() != nil {
			return
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
	switch leader, _, ok := l.currentLeader(); {
	case !ok:
		l.surveyLeaderless(ctx, self, id)
	case leader != l.cfg.Name:
		l.syncClock(ctx, leader, self, id)
	}
	l.surveyAsSuspect(ctx, r, self, id)
}

// surveyLeaderless finds out which board is which server now: without a leader, raft
// looks for the voters, and they may have new names.
func (l *Ledger) surveyLeaderless(ctx context.Context, self raftServer, id ledgerID) {
	hellos := callAll[helloResponse](ctx, l, l.otherBoards(), kindHello, l.newHello(self, id))
	for _, hello := range hellos {
		l.noteHello(id, hello)
	}
	l.mu.Lock()
	l.survey.reachable = len(hellos) + 1
	l.mu.Unlock()
}

// noteHello notes what a board's response reports of that board. It returns whether the
// board still has the files that it had.
func (l *Ledger) noteHello(own ledgerID, hello helloResponse) bool {
	l.noteLedgerOf(own, hello.Server.Name, hello.Ledger)
	if hello.RolledBack {
		l.noteRolledBack(hello.Server.Name)
	}
	return l.known.note(hello.Server, hello.Life) == nil
}

// otherBoards returns the live boards without this one.
func (l *Ledger) otherBoards() []raftServer {
	var others []raftServer
	for _, name := range l.cfg.Live() {
		if name != l.cfg.Name && name != "" && len(name) <= maxName && len(others) < maxBoards {
			others = append(others, raftServer{Name: name})
		}
	}
	return others
}

// surveyUnfounded joins the ledger of a board that has one, or tries to found one.
func (l *Ledger) surveyUnfounded(ctx context.Context, self raftServer) {
	others := l.otherBoards()
	hellos := callAll[helloResponse](ctx, l, others, kindHello, l.newHello(self, 0))
	live := []raftServer{self}
	var founded *helloResponse
	for _, hello := range hellos {
		live = append(live, hello.Server)
		if hello.Ledger == 0 {
			continue
		}
		if founded != nil && founded.Ledger != hello.Ledger {
			l.cfg.Logger.Error("ledger: the rack has two ledgers, so this board joins neither",
				"one", founded.Server.Name, "other", hello.Server.Name)
			return
		}
		founded = &hello
	}
	l.mu.Lock()
	l.survey.reachable = len(live)
	l.mu.Unlock()
	if founded != nil {
		l.cfg.Logger.Info("ledger: joining", "ledger", founded.Ledger, "learnt_from", founded.Server.Name)
		if err := l.joinLedger(founded.Ledger, founded.FirstVoters); err != nil {
			l.cfg.Logger.Error("ledger: this board cannot write to disk which ledger it joins", "error", err)
		}
		return
	}
	l.tryFounding(ctx, live, len(others)+1)
}

// newHello returns this board's hello.
func (l *Ledger) newHello(self raftServer, id ledgerID) helloRequest {
	return helloRequest{Server: self, Ledger: id, Life: l.proveLife(), MaxRules: l.applier.maxRules, DigestAt: l.applier.state().last.index}
}

func (l *Ledger) handleHello(request helloRequest) helloResponse {
	l.mu.Lock()
	l.survey.noteMaxRules(request.Server.ID, request.MaxRules)
	response := helloResponse{Server: l.selfLocked(), Ledger: l.files.identity.Ledger, FirstVoters: l.files.identity.FirstVoters}
	response.RulesHeldBy = l.survey.rulesHeldBy
	r := l.raft
	l.mu.Unlock()
	l.noteLedgerOf(response.Ledger, request.Server.Name, request.Ledger)
	response.Life = l.proveLife()
	response.RolledBack = l.known.note(request.Server, request.Life) != nil
	st := l.applier.state()
	response.Index = st.index
	response.Trouble, response.Suspect = l.whyNotVote(st), st.suspect
	response.MaxRules = l.applier.maxRules
	d := l.applier.digestAt(request.DigestAt)
	response.DigestIndex, response.Digest = d.index, d.digest
	response.Foreign = l.otherLedgers.sortedNames()
	response.Leading = r != nil && r.State() == raft.Leader
	l.reportClock(&response, st)
	return response
}

// whyNotVote returns why this board should not vote, "" if nothing.
func (l *Ledger) whyNotVote(st applierState) string {
	if st.halted != "" {
		return st.halted
	}
	if t := l.files.log.trouble.Load(); t != nil {
		return *t
	}
	return ""
}

// noteLedgerOf notes whether a board belongs to another ledger than this board.
func (l *Ledger) noteLedgerOf(own ledgerID, board string, theirs ledgerID) {
	switch {
	case own == 0 || board == "" || len(board) > maxName:
	case theirs == 0 || theirs == own:
		l.otherLedgers.remove(board)
	case l.otherLedgers.add(board, theirs):
		l.cfg.Logger.Error("ledger: the rack has two ledgers, and neither accepts commands. They were founded apart, because the "+
			"planned number of boards was too small: keep the ledger with the orders, and wipe the cards of the other's boards",
			"own", own, "board", board, "theirs", theirs)
	}
}

// surveyAsLeader collects the health of all boards, and acts on it.
func (l *Ledger) surveyAsLeader(ctx context.Context, r *raft.Raft, self raftServer, id ledgerID) {
	hellos := callAll[helloResponse](ctx, l, l.otherBoards(), kindHello, l.newHello(self, id))
	forgetful := map[string]bool{}
	for _, hello := range hellos {
		forgetful[hello.Server.ID] = !l.noteHello(id, hello)
	}
	now := time.Now()
	l.mu.Lock()
	s := &l.survey
	if s.leadingSince.IsZero() {
		s.leadingSince, s.answers = now, map[string]surveyAnswer{}
	}
	for _, hello := range hellos {
		if hello.Ledger == id && !forgetful[hello.Server.ID] {
			s.answers[hello.Server.Name] = surveyAnswer{hello, now}
			s.noteMaxRules(hello.Server.ID, hello.MaxRules)
		}
	}
	s.reachable = len(hellos) + 1
	l.mu.Unlock()
	_, heldBy := l.chooseRules(r)
	l.mu.Lock()
	s.rulesHeldBy = heldBy
	l.mu.Unlock()
	l.judgeDigests(r, self, hellos)
	l.followBoardClocks(ctx, r)
	l.runAutopilot(ctx, r, self, now)
	l.transferLeadership(ctx, r, hellos)
}

// runAutopilot makes the next change of membership, if one is due.
func (l *Ledger) runAutopilot(ctx context.Context, r *raft.Raft, self raftServer, now time.Time) {
	configuration := r.GetConfiguration()
	if configuration.Error() != nil {
		return
	}
	st := l.applier.state()
	state := clusterState{Leader: self.ID, Index: st.index, Boards: map[string]boardHealth{
		self.Name: {Server: self, Index: st.index}}}
	l.mu.Lock()
	leadingSince := l.survey.leadingSince
	for name, a := range l.survey.answers {
		state.Boards[name] = boardHealth{Server: a.hello.Server, Silent: now.Sub(a.at), Index: a.hello.Index, Trouble: a.hello.Trouble != ""}
	}
	l.mu.Unlock()
	for _, s := range configuration.Configuration().Servers {
		m := clusterMember{raftServer{string(s.ID), string(s.Address)}, s.Suffrage == raft.Voter}
		state.Members = append(state.Members, m)
		if _, ok := state.Boards[m.Name]; !ok {
			state.Boards[m.Name] = boardHealth{Server: m.raftServer, Silent: now.Sub(leadingSince)}
		}
	}
	change := planChange(state, l.cfg.Timing)
	var f raft.IndexFuture
	id, address := raft.ServerID(change.Server.ID), raft.ServerAddress(change.Server.Name)
	at, wait := configuration.Index(), l.cfg.Timing.Call
	switch change.Action {
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
	l.cfg.Logger.Info("ledger: change of membership", "action", change.Action, "board", change.Server.Name, "why", change.Why, "error", err)
}

// transferLeadership makes another voter the leader if this board has halted, and the
// other voter is better off.
func (l *Ledger) transferLeadership(ctx context.Context, r *raft.Raft, hellos []helloResponse) {
	st := l.applier.state()
	if st.halted == "" {
		return
	}
	configuration := r.GetConfiguration()
	if configuration.Error() != nil {
		return
	}
	servers := configuration.Configuration().Servers
	for _, hello := range hellos {
		isVoter := slices.ContainsFunc(servers, func(s raft.Server) bool {
			return s.Suffrage == raft.Voter && string(s.ID) == hello.Server.ID
		})
		// If this board has diverged, the others suspect themselves until another board leads.
		troubled := hello.Trouble != "" && !(hello.Suspect && st.halted != "" && !st.suspect)
		if troubled || !isVoter {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, l.cfg.Timing.RPC)
		defer cancel()
		err := awaitFuture(ctx, r.LeadershipTransferToServer(raft.ServerID(hello.Server.ID), raft.ServerAddress(hello.Server.Name)))
		l.cfg.Logger.Info("ledger: transfer of leadership", "to", hello.Server.Name, "error", err)
		return
	}
}

// syncClock fetches the time from the leader.
func (l *Ledger) syncClock(ctx context.Context, leader string, self raftServer, id ledgerID) {
	body, err := json.Marshal(l.newHello(self, id))
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timing.Call)
	defer cancel()
	sent := l.clock.monotonic()
	hello, err := call[helloResponse](ctx, l, leader, kindHello, body)
	if err != nil {
		return
	}
	truthful := l.noteHello(id, *hello)
	l.mu.Lock()
	l.survey.rulesHeldBy = hello.RulesHeldBy
	l.mu.Unlock()
	if truthful && hello.Leading {
		l.catchUp.leaderIndex.Store(hello.Index)
	}
	if truthful && hello.ClockKnown && hello.Leading {
		l.adoptClock(hello, sent)
	}
}

// watchLeadership opens every term in which this board leads.
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
				l.openTerm(ctx)
				select {
				case l.surveyNow <- struct{}{}:
				default:
				}
			}
		}
	}
}
