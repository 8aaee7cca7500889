package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// An operator's commands about the ledger itself. After a loss, boards can not know what
// is gone, so these commands are the only way to found, recover or give up a ledger then.

// BoardStatus is one board's part in the ledger, as it reports it itself.
type BoardStatus struct {
	Board   string `json:"board"`
	Server  string `json:"server"`
	Ledger  string `json:"ledger"` // "" if it has none
	Voter   bool   `json:"voter"`
	Leading bool   `json:"leading"`
	Index   uint64 `json:"index"`      // of the last entry that it applied
	Last    uint64 `json:"last_index"` // of the last entry that it has
	Trouble string `json:"trouble"`    // "" if none
	// Compacted is as in Status, and SetAside the number of folders with files that were set aside.
	Compacted uint64 `json:"compacted_index"`
	SetAside  int    `json:"set_aside"`
}

// Boards asks all live boards for their parts, and adds the members that do not answer.
// They are sorted by name.
func (l *Ledger) Boards(ctx context.Context) []BoardStatus {
	var all []BoardStatus
	seen, replaced := map[string]bool{}, map[string]bool{} // server ids; names of boards that answer as servers that are no members
	members := listMembers(l.runningRaft())
	for _, hello := range l.surveyAll(ctx) {
		b := BoardStatus{Board: hello.Server.Name, Server: hello.Server.ID, Ledger: hello.Ledger.String(), Voter: hello.Voter,
			Leading: hello.Leading, Index: hello.Index, Last: max(hello.Life.Entries, 1) - 1, Trouble: hello.Trouble, Compacted: hello.Compacted, SetAside: hello.SetAside}
		if b.Trouble == "" && hello.Ledger == 0 {
			b.Trouble = "it has no ledger"
			if hello.Lost != "" {
				b.Trouble += ", and lost its files: " + hello.Lost
			}
		}
		if own := l.ledger(); b.Trouble == "" && hello.Ledger != own && own != 0 {
			b.Trouble = "another ledger"
		}
		seen[b.Server] = true
		if !slices.ContainsFunc(members, func(s raft.Server) bool { return string(s.ID) == b.Server }) {
			replaced[b.Board] = true
		}
		all = append(all, b)
	}
	for _, s := range members {
		if b := (BoardStatus{Board: l.boardName(string(s.ID)), Server: string(s.ID), Voter: s.Suffrage == raft.Voter}); !seen[b.Server] {
			b.Ledger, b.Trouble = l.ledger().String(), "it does not answer"
			if replaced[b.Board] {
				b.Trouble = "its files are lost, or its card was replaced: the board answers as another server"
			}
			all = append(all, b)
		}
	}
	slices.SortFunc(all, func(a, b BoardStatus) int { return strings.Compare(a.Board+a.Server, b.Board+b.Server) })
	return all
}

// surveyAll returns the answers of all live boards, this one's first.
func (l *Ledger) surveyAll(ctx context.Context) []helloResponse {
	return append([]helloResponse{l.handleHello(helloRequest{})}, l.callHello(ctx)...)
}

// listMembers returns the servers of raft's present configuration, nil if raft does not run.
func listMembers(r *raft.Raft) []raft.Server {
	if r == nil {
		return nil
	}
	return r.GetConfiguration().Configuration().Servers
}

// listVoters returns the server ids of the members that have a vote.
func listVoters(r *raft.Raft) (ids []string) {
	for _, s := range listMembers(r) {
		if s.Suffrage == raft.Voter {
			ids = append(ids, string(s.ID))
		}
	}
	return ids
}

// refusedf returns an error of the kind ErrRefused.
func refusedf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

// Found allows the boards that answer to found a new ledger without the others: more than
// half of the planned boards. The error is ErrRefused if a board has an entry of a ledger, or
// too few answer. Run ends with ErrRestart on a board that joined a ledger and has nothing of it. An older ledger that comes back later is another one: see Choose.
func (l *Ledger) Found(ctx context.Context) error {
	hellos := l.surveyAll(ctx)
	for _, hello := range hellos {
		if hello.hasEntries() {
			return refusedf("%s has ledger %s: the others join it", hello.Server.Name, hello.Ledger)
		}
	}
	if fault := findPlanFault(l.cfg.Boards, len(hellos), hellos); fault != "" {
		return refusedf("%s", fault)
	}
	if need := majorityOf(l.cfg.Boards); len(hellos) < need {
		return refusedf("%d of %d boards answer, and a new ledger needs %d: start them, or set [rack] expected_boards to the number that you have",
			len(hellos), l.cfg.Boards, need)
	}
	word := foundRequest{}
	for _, hello := range hellos {
		word.Answering = append(word.Answering, hello.Server.ID)
	}
	err := l.sendWord(ctx, hellos, kindFound, word)
	return errors.Join(err, l.allowFounding(word)) // this board last: it may restart
}

// sendWord sends an operator's word to all boards that answered, without this one.
func (l *Ledger) sendWord(ctx context.Context, hellos []helloResponse, kind string, request any) error {
	var failures []error
	for _, hello := range hellos[1:] {
		if _, err := call[struct{}](ctx, l, l.cfg.Timing.RPC, hello.Server.Name, kind, request); err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", hello.Server.Name, err))
		}
	}
	return errors.Join(failures...)
}

// allowFounding notes an operator's word that a majority may found a ledger.
func (l *Ledger) allowFounding(word foundRequest) error {
	if id := l.ledger(); id != 0 {
		if r := l.runningRaft(); r == nil || r.LastIndex() > 0 {
			return refusedf("this board has ledger %s", id)
		}
		why := fmt.Sprintf("an operator allows to found a ledger, and this board has nothing of ledger %s", id)
		return l.restartAs(why, func(id *boardIdentity) { id.NewLife, id.MayFound = why, true })
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.founding.acceptor
	answering := 0
	for _, s := range a.Bootstrap.Voters {
		if slices.Contains(word.Answering, s.ID) {
			answering++
		}
	}
	if !l.files.identity.MayFound && answering < majorityOf(len(a.Bootstrap.Voters)) {
		// What it accepted before came to nothing: most of its voters are lives that are gone.
		// It drops that only once, so that a second word breaks no promise.
		a.Accepted, a.Bootstrap = ballot{}, bootstrapConfig{}
		if err := l.setAcceptor(a); err != nil {
			return err
		}
	}
	if err := l.files.changeIdentity(func(id *boardIdentity) { id.MayFound, id.JoinOnly, id.Lost = true, false, "" }); err != nil {
		return err
	}
	l.cfg.Logger.Warn("ledger: an operator allows a majority to found a ledger")
	return nil
}

// RecoveryPlan is what Recover does, and what may be missing afterwards.
type RecoveryPlan struct {
	Board  string `json:"board"`  // the board that becomes the only voter
	Ledger string `json:"ledger"` // its ledger before
	Index  uint64 `json:"index"`  // of the last entry on its card
	// Proven is the last index of which the card proves that a majority had it. Unproven is the number of
	// commands after that; they stay.
	Proven   uint64 `json:"proven"`
	Unproven int    `json:"unproven"`
	// CountedOut are the voters that do not answer as the servers that they were.
	CountedOut []string `json:"counted_out"`
	// ProvenAt is the ledger's clock at entry Proven. Holds is what the board has applied, see Config.Describe; after
	// that it has Waiting commands.
	ProvenAt time.Time `json:"proven_at"`
	Holds    string    `json:"holds"`
	Waiting  int       `json:"waiting"`
	// Ahead are, for each board that answers and has entries that this one lacks: that board, and this one with those that
	// that board lacks.
	Ahead []AheadBoard `json:"ahead_boards"`
}

// PlanRecovery returns what Recover of a board would do. The error is ErrRefused if nothing
// needs to be recovered, or another board has more of the ledger.
func (l *Ledger) PlanRecovery(ctx context.Context, board string) (RecoveryPlan, error) {
	return l.recoverBoard(ctx, board, recoverRequest{})
}

// Recover makes a board the only voter of its ledger, under a new identity, as PlanRecovery
// describes. Commands that only the voters counted out had are lost. Run of that
// board ends with ErrRestart. If the others come back with the ledger of before, they do not
// take part: see Choose.
func (l *Ledger) Recover(ctx context.Context, board string) (RecoveryPlan, error) {
	return l.recoverBoard(ctx, board, recoverRequest{Confirmed: true})
}

// recoverBoard passes an operator's word to a board, which may be this one.
func (l *Ledger) recoverBoard(ctx context.Context, board string, request recoverRequest) (RecoveryPlan, error) {
	var response recoverResponse
	var err error
	switch {
	case board == l.cfg.Name:
		response, err = l.handleRecover(ctx, request)
	case !slices.Contains(l.cfg.Live(), board):
		return RecoveryPlan{}, refusedf("no board called %s answers", board)
	default:
		response, err = call[recoverResponse](ctx, l, 2*l.cfg.Timing.RPC, board, kindRecover, request)
	}
	if response.Refused != "" {
		err = refusedf("%s", response.Refused)
	}
	return response.Plan, err
}

// handleRecover is the called board's side.
func (l *Ledger) handleRecover(ctx context.Context, request recoverRequest) (recoverResponse, error) {
	p, err := l.planOwnRecovery(ctx, request.Over != nil)
	if err == nil && request.Confirmed {
		err = l.restartAs("an operator recovers the ledger on this board alone", func(id *boardIdentity) {
			id.Recover = true
			for _, over := range request.Over {
				id.Superseded = addLedger(id.Superseded, over)
			}
		})
	}
	if errors.Is(err, ErrRefused) {
		_, text, _ := strings.Cut(err.Error(), ErrRefused.Error()+": ")
		return recoverResponse{p, text}, nil
	}
	return recoverResponse{Plan: p}, err
}

func (l *Ledger) planOwnRecovery(ctx context.Context, isChosen bool) (RecoveryPlan, error) {
	r := l.runningRaft()
	if r == nil && l.ledger() != 0 { // Run has not started raft yet
		return RecoveryPlan{}, refusedf("%s is opening its ledger: try again in a minute", l.cfg.Name)
	}
	if r == nil {
		return RecoveryPlan{}, refusedf("%s has no ledger to recover", l.cfg.Name)
	}
	l.mu.Lock()
	disowned := l.survey.disowned
	l.mu.Unlock()
	kept := l.files.log.kept.Load() != nil || disowned // this board has what the others lack
	leader, _, hasLeader := l.currentLeader()
	hellos := l.surveyAll(ctx)
	own := hellos[0]
	for _, hello := range hellos {
		isGivenUp := slices.Contains(hello.Superseded, own.Ledger) && !slices.Contains(own.Superseded, hello.Ledger)
		if !isChosen && (isGivenUp || hasLeader && !kept) && hello.Ledger != 0 && hello.Ledger != own.Ledger {
			return RecoveryPlan{}, refusedf("the rack has two ledgers, so %s is not recovered: to go on with that of %s, bramble ledger choose %s; with that of %s, bramble ledger choose %s",
				l.cfg.Name, hello.Server.Name, hello.Ledger, l.cfg.Name, own.Ledger)
		}
	}
	if hasLeader && !kept {
		return RecoveryPlan{}, refusedf("%s leads the ledger, so there is nothing to recover", leader)
	}
	p := RecoveryPlan{Board: own.Server.Name, Ledger: own.Ledger.String(), Index: r.LastIndex()}
	if p.Index == 0 {
		return p, refusedf("this board has nothing of the ledger")
	}
	live := map[string]bool{}
	for i, hello := range hellos {
		if hello.Ledger != own.Ledger || i > 0 && (kept || hello.Accused || l.known.note(hello.Server, hello.Life) != nil) {
			continue // a board whose files are older than before does not vote
		}
		live[hello.Server.ID] = true
	}
	ownLog := own.completeLog()
	for _, hello := range hellos[1:] {
		theirs := hello.completeLog()
		switch {
		case hello.Ledger != own.Ledger:
		case theirs.hasMore(ownLog) && !hasLeader: // beside a leader, only the board that keeps entries gets here
			most := findFullest(hellos, own.Ledger).Server.Name
			return p, refusedf("%s has more of the ledger than this board: bramble ledger recover %s", most, most)
		case theirs.countAhead(ownLog) > 0:
			p.Ahead = append(p.Ahead, AheadBoard{hello.Server.Name, p.Ledger, theirs.countAhead(ownLog)},
				AheadBoard{p.Board, p.Ledger, ownLog.countAhead(theirs)})
		}
	}
	voters := listVoters(r)
	for _, id := range voters {
		if !live[id] {
			p.CountedOut = append(p.CountedOut, fmt.Sprintf("%s (%s)", l.boardName(id), id))
		}
	}
	if answering := len(voters) - len(p.CountedOut); answering >= majorityOf(len(voters)) {
		return p, refusedf("%d of %d voters answer: they go on without a recovery", answering, len(voters))
	}
	return p, l.countUnproven(&p)
}

// countUnproven reads the log for the commands that nothing proves to be committed.
func (l *Ledger) countUnproven(p *RecoveryPlan) error {
	st := l.applier.state()
	tail := unprovenTail{proven: max(st.index, l.files.newestSnapshot.Load()), at: st.at}
	err := l.files.log.forEachBatch(0, func(stored *raft.Log, e entry) error {
		tail.add(stored.Index, e)
		if stored.Index > st.index {
			p.Waiting += len(e.Commands)
		}
		return nil
	})
	p.Proven, p.Unproven, p.ProvenAt = tail.proven, tail.countCommands(), tail.at
	if l.cfg.Describe != nil {
		p.Holds = l.cfg.Describe()
	}
	return err
}

// ChoicePlan is what Choose does, and what the ledger lacks afterwards.
type ChoicePlan struct {
	// Recovers is the board on which the ledger, which was given up and has no leader, is recovered under a new
	// identity, which then must be chosen. "" if it has a leader.
	Recovers string `json:"recovers"`
	// SetAside are the boards that set their files aside, with the number of their entries that the ledger lacks.
	SetAside []AheadBoard `json:"set_aside"`

	hellos []helloResponse
	chosen chooseRequest
}

// PlanChoice returns what Choose of a ledger would do. The error is as there.
func (l *Ledger) PlanChoice(ctx context.Context, ledger string) (p ChoicePlan, err error) {
	n, err := strconv.ParseUint(ledger, 16, 64)
	if err != nil || n == 0 {
		return p, refusedf("%q is not a ledger: it has 16 hex digits, as bramble ledger status prints it", ledger)
	}
	leads, isGivenUp := false, false
	p.chosen.Ledger, p.hellos = ledgerID(n), l.surveyAll(ctx)
	for _, hello := range p.hellos {
		if hello.Ledger != p.chosen.Ledger {
			isGivenUp = isGivenUp || slices.Contains(hello.Superseded, p.chosen.Ledger)
			p.chosen.Over = addLedger(p.chosen.Over, hello.Ledger)
			continue
		}
		leads = leads || hello.Leading
	}
	has := findFullest(p.hellos, p.chosen.Ledger)
	for _, hello := range p.hellos {
		if hello.Ledger != p.chosen.Ledger && hello.Ledger != 0 {
			p.SetAside = append(p.SetAside, AheadBoard{hello.Server.Name, hello.Ledger.String(), hello.completeLog().countAhead(has.completeLog())})
		}
	}
	switch {
	case has.Ledger == 0:
		return p, refusedf("no board that answers has ledger %s", p.chosen.Ledger)
	case !leads && !isGivenUp:
		return p, refusedf("ledger %s has no leader: start its missing boards, or, if their cards are lost, first: bramble ledger recover %s",
			p.chosen.Ledger, has.Server.Name)
	case !leads:
		p.Recovers = has.Server.Name
	}
	return p, nil
}

// Choose ends the state of two ledgers: boards of any other ledger set their files aside
// and join this one, now or, if they do not answer, after another Choose. The error is
// ErrRefused if no board leads it: a board that set its files aside for a ledger that cannot
// go on would lose what works. Run ends with ErrRestart on boards of other ledgers.
func (l *Ledger) Choose(ctx context.Context, ledger string) error {
	p, err := l.PlanChoice(ctx, ledger)
	if err != nil {
		return err
	}
	if p.Recovers != "" {
		_, err := l.recoverBoard(ctx, p.Recovers, recoverRequest{Confirmed: true, Over: p.chosen.Over})
		return err
	}
	err = l.sendWord(ctx, p.hellos, kindChoose, p.chosen)
	return errors.Join(err, l.applyChoice(p.chosen)) // this board last: it may restart
}

// applyChoice applies an operator's choice on this board.
func (l *Ledger) applyChoice(c chooseRequest) error {
	l.mu.Lock()
	own := l.files.identity.Ledger
	if own != 0 && own != c.Ledger {
		l.mu.Unlock()
		why := fmt.Sprintf("an operator chose ledger %s instead of %s", c.Ledger, own)
		return l.restartAs(why, func(id *boardIdentity) { id.NewLife, id.JoinLedger = why, c.Ledger })
	}
	err := l.files.changeIdentity(func(id *boardIdentity) {
		if own == 0 {
			id.JoinLedger = c.Ledger
			return
		}
		for _, over := range c.Over {
			id.Superseded = addLedger(id.Superseded, over)
		}
	})
	if own == c.Ledger {
		l.superseded = "" // the choice before is void
	}
	l.mu.Unlock()
	l.otherLedgers.removeLedgers(c.Over)
	return err
}
