package ledger

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// surveyState holds the results of this board's surveys.
//
// Ledger.mu guards its fields.
type surveyState struct {
	reachable     int                     // boards that answered the last survey, this one included
	leadingSince  time.Time               // zero while another board leads
	answers       map[string]surveyAnswer // by server id, while this board leads
	whyNotJoin    string                  // why this board does not join the ledger that others have, "" if there is none
	lost          string                  // boards without a ledger that lost their files, "" if none
	nameConflicts []string                // see planner.nameConflicts; as the leader has them
	conflictsFrom map[string]time.Time    // since when the planner reports each, while this board leads
	leadsApart    string                  // the board that leads this ledger, though raft knows no leader here; "" if none
	outlook       outlook                 // while there is no leader
	offer         string                  // see offerFounding
	kept          keptEntries             // what boards keep that the leader lacks
	maxRules      map[string]uint32       // by server id: see noteMaxRules
	olderPrograms []string                // names of boards, sorted: see Status
	rulesHeldBy   []string                // see Status
	leaderHeard   time.Time               // when the leader last answered; while there is none, or this board leads, the last survey
	introduced    map[string]bool         // by name: boards that answered introduceSelf
	rulesHeldAt   time.Time               // since when; zero while the list is empty
	accuser       string                  // see noteRolledBack
	disowned      bool                    // no board that answers has what this one knows to be committed
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
	l.clock.noteState(l.cfg.ClockState())
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
	if accuser := l.accusedBy(); accuser != "" {
		l.judgeOwnLife(ctx, id, accuser)
	}
	leader, _, ok := l.currentLeader()
	l.mu.Lock()
	if !ok || leader == l.cfg.Name || l.survey.leaderHeard.IsZero() {
		l.survey.leaderHeard = time.Now()
	}
	l.mu.Unlock()
	if r.State() == raft.Leader {
		l.surveyAsLeader(ctx, r, self, id)
		return
	}
	l.mu.Lock()
	l.survey.leadingSince, l.survey.answers = time.Time{}, nil
	l.mu.Unlock()
	switch {
	case !ok:
		l.surveyLeaderless(ctx, id)
	case leader != l.cfg.Name:
		l.syncClock(ctx, leader, id)
		l.introduceSelf(ctx, id)
	}
	if st := l.applier.state(); st.suspect || st.diverged {
		l.judgeDigests(r, self, l.callHello(ctx))
	}
}

// noteHello notes what a board's response reports of that board. It returns whether the
// board still has the files that it had.
func (l *Ledger) noteHello(own ledgerID, hello helloResponse) bool {
	l.noteLedgerOf(own, hello.Server.Name, hello.Ledger, hello.Superseded)
	l.otherLedgers.noteLog(hello.Server.Name, hello.Log)
	l.mu.Lock()
	l.survey.noteMaxRules(hello.Server, hello.MaxRules)
	l.mu.Unlock()
	if hello.RolledBack && hello.Ledger == own { // of another ledger it means nothing
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
	hellos := l.callHello(ctx)
	known := len(l.otherBoards()) + 1
	live := []raftServer{self}
	var lost []string
	for _, hello := range hellos {
		l.noteHello(0, hello)
		live = append(live, hello.Server)
		if hello.Ledger == 0 && hello.Lost != "" {
			lost = append(lost, hello.Server.Name)
		}
	}
	l.mu.Lock()
	mayFound := l.files.identity.MayFound
	founded, why := chooseLedger(append(hellos, helloResponse{Server: self}), self.ID, l.files.identity.JoinLedger)
	l.survey.reachable, l.survey.whyNotJoin, l.survey.lost, l.survey.offer = len(live), why, strings.Join(lost, ", "), offerFounding(hellos)
	l.founding.planFault = findPlanFault(l.cfg.Boards, max(len(live), known), hellos)
	l.mu.Unlock()
	switch {
	case founded != nil:
		l.cfg.Logger.Info("ledger: joining", "ledger", founded.Ledger, "learnt_from", founded.Server.Name)
		if err := l.joinLedger(*founded); err != nil {
			l.cfg.Logger.Error("ledger: this board cannot write to disk which ledger it joins", "error", err)
		}
	case why == "" && (len(lost) == 0 || mayFound):
		l.tryFounding(ctx, live)
	}
}

// chooseLedger returns the answer of a board whose ledger a board without one joins, nil
// if it joins none. why is the reason, "" if no board has a ledger. A board joins a ledger that
// has a leader; the leader lets it in. Before, only its first voters are members.
func chooseLedger(hellos []helloResponse, self string, only ledgerID) (founded *helloResponse, why string) {
	gone := map[ledgerID]bool{}
	for _, hello := range hellos {
		for _, id := range hello.Superseded {
			gone[id] = true
		}
	}
	boards := map[ledgerID][]string{}
	for _, hello := range hellos {
		if hello.Ledger == 0 || gone[hello.Ledger] || (only != 0 && only != hello.Ledger) {
			continue
		}
		boards[hello.Ledger] = append(boards[hello.Ledger], hello.Server.Name)
		if hello.HasLeader || slices.ContainsFunc(hello.FirstVoters, func(s raftServer) bool { return s.ID == self }) {
			founded = &hello
		}
	}
	switch {
	case len(boards) > 1:
		var all []string
		for id, names := range boards {
			all = append(all, fmt.Sprintf("%s of %s", id, strings.Join(names, ", ")))
		}
		slices.Sort(all)
		return nil, "the rack has two ledgers: " + strings.Join(all, "; ") + ". Choose the one with the orders: bramble ledger choose LEDGER"
	case founded != nil || len(boards) == 0:
		return founded, ""
	}
	for id, names := range boards {
		o := newOutlook(hellos, id)
		if o.fullest == "" {
			return nil, fmt.Sprintf("%s joined a ledger and has nothing of it: start the missing boards%s", strings.Join(names, ", "), offerFounding(hellos))
		}
		why = fmt.Sprintf("%s has the ledger, which has no leader: %s", o.fullest, o.describe())
	}
	return nil, why
}

// newHello returns this board's hello.
func (l *Ledger) newHello() helloRequest {
	life, log := l.proveLife(), l.describeLog()
	l.mu.Lock()
	defer l.mu.Unlock()
	return helloRequest{Server: l.selfLocked(), Ledger: l.files.identity.Ledger, Superseded: l.files.identity.Superseded,
		Life: life, Log: log, MaxRules: l.offeredRules(), DigestAt: l.applier.state().last.index}
}

// callHello sends a hello to all live boards, and returns their answers.
func (l *Ledger) callHello(ctx context.Context) []helloResponse {
	return callAll[helloResponse](ctx, l, l.otherBoards(), kindHello, l.newHello())
}

func (l *Ledger) handleHello(request helloRequest) helloResponse {
	l.mu.Lock()
	l.survey.noteMaxRules(request.Server, request.MaxRules)
	response := helloResponse{Server: l.selfLocked(), Ledger: l.files.identity.Ledger, FirstVoters: l.files.identity.FirstVoters,
		Superseded: l.files.identity.Superseded, Lost: l.files.identity.Lost, Boards: l.cfg.Boards}
	response.RulesHeldBy, response.NameConflicts = l.survey.rulesHeldBy, l.survey.nameConflicts
	response.Accused = l.survey.accuser != ""
	response.Kept, response.KeptInRack = l.files.log.describeKept(l.cfg.Name), l.survey.kept.text
	r := l.raft
	l.mu.Unlock()
	l.noteLedgerOf(response.Ledger, request.Server.Name, request.Ledger, request.Superseded)
	l.otherLedgers.noteLog(request.Server.Name, request.Log)
	response.Life, response.Log = l.proveLife(), l.describeLog()
	response.RolledBack = l.known.note(request.Server, request.Life) != nil || l.isOwnOlder(request)
	response.HasProven = l.files.log.hasEntry(request.Proven)
	st := l.applier.state()
	response.Index, response.Compacted, response.SetAside = st.index, l.compacted.Load(), len(SetAside(l.cfg.Dir))
	response.Trouble, response.Suspect = l.whyNotVote(st), st.suspect && !st.fromLog
	response.MaxRules = l.offeredRules()
	if st.vouches {
		d := l.applier.digestAt(request.DigestAt)
		response.DigestIndex, response.Digest = d.index, d.digest
	}
	if r != nil {
		_, leader := r.LeaderWithID()
		response.Leading, response.HasLeader = r.State() == raft.Leader, leader != ""
		voters := listVoters(r)
		response.Voter = slices.Contains(voters, response.Server.ID)
		for _, id := range voters {
			response.Voters = append(response.Voters, raftServer{id, l.boardName(id)})
		}
		response.LastTerm = response.Log.Term
	}
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

// surveyAsLeader collects the health of all boards, and acts on it.
func (l *Ledger) surveyAsLeader(ctx context.Context, r *raft.Raft, self raftServer, id ledgerID) {
	hellos := l.callHello(ctx)
	forgetful := map[string]bool{}
	for _, hello := range hellos {
		forgetful[hello.Server.ID] = !l.noteHello(id, hello)
	}
	now := time.Now()
	l.mu.Lock()
	s := &l.survey
	if s.leadingSince.IsZero() {
		s.leadingSince, s.answers, s.conflictsFrom = now, map[string]surveyAnswer{}, nil
	}
	for _, hello := range hellos {
		if hello.Ledger == id && (hello.Kept != "" || s.kept.server == hello.Server.ID) {
			s.kept = keptEntries{hello.Server.ID, hello.Kept} // it stays if that board is silent
		}
		if hello.Ledger == id && !forgetful[hello.Server.ID] {
			s.answers[hello.Server.ID] = surveyAnswer{hello, now}
			s.noteMaxRules(hello.Server, hello.MaxRules)
		}
	}
	s.reachable = len(hellos) + 1
	l.mu.Unlock()
	rules, heldBy := l.chooseRules(r)
	l.mu.Lock()
	s.noteRulesHeld(heldBy)
	l.mu.Unlock()
	if rules > l.applier.state().rules {
		l.raiseRules(ctx, r)
	}
	l.judgeDigests(r, self, hellos)
	l.followBoardClocks(ctx, r)
	l.runAutopilot(ctx, r, self, now)
	l.transferLeadership(ctx, r, hellos)
}

// runAutopilot makes the next change of membership, if one is due.
func (l *Ledger) runAutopilot(ctx context.Context, r *raft.Raft, self raftServer, now time.Time) {
	configuration := r.GetConfiguration()
	st := l.applier.state()
	state := clusterState{Leader: self.ID, Index: st.index, Boards: map[string]boardHealth{self.ID: {Index: st.index}}}
	l.mu.Lock()
	leadingSince := l.survey.leadingSince
	isOver := func(_ string, a surveyAnswer) bool { return now.Sub(a.at) > l.cfg.Timing.RemoveAfter }
	maps.DeleteFunc(l.survey.answers, isOver)
	for id, a := range l.survey.answers {
		state.Boards[id] = boardHealth{Silent: now.Sub(a.at), Index: a.hello.Index, Trouble: a.hello.Trouble != "", Follows: a.hello.HasLeader}
	}
	l.mu.Unlock()
	for _, s := range configuration.Configuration().Servers {
		m := clusterMember{string(s.ID), string(s.Address), s.Suffrage == raft.Voter}
		state.Members = append(state.Members, m)
		if _, ok := state.Boards[m.ID]; !ok {
			state.Boards[m.ID] = boardHealth{Silent: now.Sub(leadingSince), Unheard: true}
		}
	}
	for id, b := range state.Boards {
		b.Server = raftServer{id, l.boardName(id)}
		state.Boards[id] = b
	}
	l.noteNameConflicts(newPlanner(state, l.cfg.Timing).nameConflicts(), now)
	change := planChange(state, l.cfg.Timing)
	var f raft.IndexFuture
	id, address := raft.ServerID(change.Server.ID), raft.ServerAddress(change.Address)
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

// conflictSurveys is the number of surveys after which a name that two boards claim is reported. A card
// that was replaced answers beside its earlier life for three; see planner.answersNow.
const conflictSurveys = 5

// noteNameConflicts logs and remembers which names are claimed twice for longer.
func (l *Ledger) noteNameConflicts(conflicts []string, now time.Time) {
	l.mu.Lock()
	from, lasting := map[string]time.Time{}, []string(nil)
	for _, c := range conflicts {
		if from[c] = cmp.Or(l.survey.conflictsFrom[c], now); now.Sub(from[c]) >= conflictSurveys*l.cfg.Timing.Survey {
			lasting = append(lasting, c)
		}
	}
	changed := !slices.Equal(lasting, l.survey.nameConflicts)
	l.survey.conflictsFrom, l.survey.nameConflicts = from, lasting
	l.mu.Unlock()
	for _, c := range lasting {
		if changed {
			l.cfg.Logger.Error("ledger: a name is used twice", "why", c)
		}
	}
}

// transferLeadership makes another voter the leader if this board has halted, and the
// other voter is better off.
func (l *Ledger) transferLeadership(ctx context.Context, r *raft.Raft, hellos []helloResponse) {
	st := l.applier.state()
	if st.halted == "" {
		return
	}
	voters := listVoters(r)
	for _, hello := range hellos {
		// If this board has diverged, the others suspect themselves until another board leads.
		troubled := hello.Trouble != "" && !(hello.Suspect && st.halted != "" && !st.suspect)
		if troubled || !slices.Contains(voters, hello.Server.ID) {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, l.cfg.Timing.RPC)
		defer cancel()
		err := awaitFuture(ctx, r.LeadershipTransferToServer(raft.ServerID(hello.Server.ID), raft.ServerAddress(hello.Server.ID)))
		l.cfg.Logger.Info("ledger: transfer of leadership", "to", hello.Server.Name, "error", err)
		return
	}
}

// syncClock fetches the time from the leader.
func (l *Ledger) syncClock(ctx context.Context, leader string, id ledgerID) {
	request := l.newHello()
	sent := l.clock.monotonic()
	hello, err := call[helloResponse](ctx, l, l.cfg.Timing.Call, leader, kindHello, request)
	if err != nil {
		return
	}
	truthful := l.noteHello(id, hello)
	l.mu.Lock()
	l.survey.noteRulesHeld(hello.RulesHeldBy)
	l.survey.nameConflicts = hello.NameConflicts
	if hello.Leading {
		l.survey.leaderHeard = time.Now()
		l.survey.kept = keptEntries{hello.Server.ID, hello.KeptInRack}
	}
	l.mu.Unlock()
	if truthful && hello.Leading {
		l.catchUp.leaderIndex.Store(hello.Index)
	}
	if truthful && hello.ClockKnown && hello.Leading {
		l.adoptClock(&hello, sent)
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
				l.requestSurvey()
			}
		}
	}
}
