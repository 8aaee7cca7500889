package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

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
	Index   uint64 `json:"index"`   // of the last entry that it applied
	Trouble string `json:"trouble"` // "" if none
}

// Boards asks all live boards for their parts, and adds the members that do not answer.
// They are sorted by name.
func (l *Ledger) Boards(ctx context.Context) []BoardStatus {
	var all []BoardStatus
	seen := map[string]bool{}
	for _, hello := range l.surveyAll(ctx) {
		b := BoardStatus{Board: hello.Server.Name, Server: hello.Server.ID, Ledger: hello.Ledger.String(), Voter: hello.Voter,
			Leading: hello.Leading, Index: hello.Index, Trouble: hello.Trouble}
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
		all = append(all, b)
	}
	for _, s := range l.members() {
		if !seen[string(s.ID)] {
			all = append(all, BoardStatus{Board: l.boardName(string(s.ID)), Server: string(s.ID), Ledger: l.ledger().String(),
				Voter: s.Suffrage == raft.Voter, Trouble: "it does not answer"})
		}
	}
	slices.SortFunc(all, func(a, b BoardStatus) int { return strings.Compare(a.Board+a.Server, b.Board+b.Server) })
	return all
}

// surveyAll returns the answers of all live boards, this one's first.
func (l *Ledger) surveyAll(ctx context.Context) []helloResponse {
	l.mu.Lock()
	self, id := l.selfLocked(), l.files.identity.Ledger
	l.mu.Unlock()
	own := l.handleHello(helloRequest{})
	return append([]helloResponse{own}, callAll[helloResponse](ctx, l, l.otherBoards(), kindHello, l.newHello(self, id))...)
}

// members returns raft's present configuration, nil if raft does not run.
func (l *Ledger) members() []raft.Server {
	r := l.runningRaft()
	if r == nil {
		return nil
	}
	f := r.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	return f.Configuration().Servers
}

func isVoter(r *raft.Raft, server string) bool {
	f := r.GetConfiguration()
	return f.Error() == nil && slices.ContainsFunc(f.Configuration().Servers, func(s raft.Server) bool {
		return s.Suffrage == raft.Voter && string(s.ID) == server
	})
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
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	for _, hello := range hellos[1:] {
		callCtx, cancel := context.WithTimeout(ctx, l.cfg.Timing.RPC)
		_, failed := call[struct{}](callCtx, l, hello.Server.Name, kind, body)
		cancel()
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", hello.Server.Name, failed))
		}
	}
	return err
}

// allowFounding notes an operator's word that a majority may found a ledger.
func (l *Ledger) allowFounding(word foundRequest) error {
	if id := l.ledger(); id != 0 {
		if r := l.runningRaft(); r == nil || r.LastIndex() > 0 {
			return refusedf("this board has ledger %s", id)
		}
		why := fmt.Sprintf("an operator allows to found a ledger, and this board has nothing of ledger %s", id)
		return l.changeIdentity(why, func(id *boardIdentity) { id.NewLife, id.MayFound = why, true })
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := l.files.identity
	a := l.founding.acceptor
	answering := 0
	for _, s := range a.Bootstrap.Voters {
		if slices.Contains(word.Answering, s.ID) {
			answering++
		}
	}
	if !changed.MayFound && answering < majorityOf(len(a.Bootstrap.Voters)) {
		// What it accepted before came to nothing: most of its voters are lives that are gone.
		// It drops that only once, so that a second word breaks no promise.
		a.Accepted, a.Bootstrap = ballot{}, bootstrapConfig{}
		if err := l.saveAcceptor(a); err != nil {
			return err
		}
		l.founding.acceptor = a
	}
	changed.MayFound, changed.JoinOnly, changed.Lost = true, false, ""
	if err := changed.saveTo(l.files.stable); err != nil {
		return err
	}
	l.files.identity = changed
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
	if board == l.cfg.Name {
		response, err := l.handleRecover(ctx, request)
		if response.Refused != "" {
			err = refusedf("%s", response.Refused)
		}
		return response.Plan, err
	}
	if !slices.Contains(l.cfg.Live(), board) {
		return RecoveryPlan{}, refusedf("no board called %s answers", board)
	}
	body, err := json.Marshal(request)
	if err != nil {
		return RecoveryPlan{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*l.cfg.Timing.RPC)
	defer cancel()
	response, err := call[recoverResponse](ctx, l, board, kindRecover, body)
	if err != nil {
		return RecoveryPlan{}, err
	}
	if response.Refused != "" {
		return response.Plan, refusedf("%s", response.Refused)
	}
	return response.Plan, nil
}

// handleRecover is the called board's side.
func (l *Ledger) handleRecover(ctx context.Context, request recoverRequest) (recoverResponse, error) {
	p, err := l.planOwnRecovery(ctx)
	if err == nil && request.Confirmed {
		err = l.changeIdentity("an operator recovers the ledger on this board alone", func(id *boardIdentity) { id.Recover = true })
	}
	if errors.Is(err, ErrRefused) {
		_, text, _ := strings.Cut(err.Error(), ErrRefused.Error()+": ")
		return recoverResponse{p, text}, nil
	}
	return recoverResponse{Plan: p}, err
}

func (l *Ledger) planOwnRecovery(ctx context.Context) (RecoveryPlan, error) {
	r := l.runningRaft()
	if r == nil {
		return RecoveryPlan{}, refusedf("%s has no ledger to recover", l.cfg.Name)
	}
	if leader, _, ok := l.currentLeader(); ok {
		return RecoveryPlan{}, refusedf("%s leads the ledger, so there is nothing to recover", leader)
	}
	hellos := l.surveyAll(ctx)
	own := hellos[0]
	p := RecoveryPlan{Board: own.Server.Name, Ledger: own.Ledger.String(), Index: r.LastIndex()}
	if p.Index == 0 {
		return p, refusedf("this board has nothing of the ledger")
	}
	live := map[string]bool{}
	for _, hello := range hellos {
		if hello.Ledger != own.Ledger {
			continue
		}
		live[hello.Server.ID] = true
		if hello.LastTerm > own.LastTerm || hello.LastTerm == own.LastTerm && hello.Life.Entries > own.Life.Entries {
			return p, refusedf("%s has more of the ledger than this board: bramble ledger recover %s", hello.Server.Name, hello.Server.Name)
		}
	}
	voters, answering := 0, 0
	for _, s := range l.members() {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if live[string(s.ID)] {
			answering++
		} else {
			p.CountedOut = append(p.CountedOut, fmt.Sprintf("%s (%s)", l.boardName(string(s.ID)), s.ID))
		}
	}
	if voters > 0 && answering >= majorityOf(voters) {
		return p, refusedf("%d of %d voters answer: they go on without a recovery", answering, voters)
	}
	return p, l.countUnproven(&p)
}

// countUnproven reads the log for the commands that nothing proves to be committed.
func (l *Ledger) countUnproven(p *RecoveryPlan) error {
	first, err := l.files.log.FirstIndex()
	if err != nil {
		return err
	}
	p.Proven = max(l.applier.state().index, l.files.newestSnapshot.Load())
	after := map[uint64]int{} // commands by index
	for i := first; i > 0 && i <= p.Index; i++ {
		var stored raft.Log
		if err := l.files.log.GetLog(i, &stored); err != nil {
			return err
		}
		if stored.Type != raft.LogCommand {
			continue
		}
		e, err := decodeEntry(stored.Data)
		if err != nil {
			return err
		}
		p.Proven = max(p.Proven, e.Seen)
		after[i] = len(e.Commands)
	}
	for i, n := range after {
		if i > p.Proven {
			p.Unproven += n
		}
	}
	return nil
}

// Choose ends the state of two ledgers: boards of any other ledger set their files aside
// and join this one, now or, if they do not answer, after another Choose. The error is
// ErrRefused if no board that answers has it. Run ends with ErrRestart on boards of other ledgers.
func (l *Ledger) Choose(ctx context.Context, ledger string) error {
	n, err := strconv.ParseUint(ledger, 16, 64)
	if err != nil || n == 0 {
		return refusedf("%q is not a ledger: it has 16 hex digits, as bramble ledger status prints it", ledger)
	}
	chosen := chooseRequest{Ledger: ledgerID(n)}
	found := false
	hellos := l.surveyAll(ctx)
	for _, hello := range hellos {
		if hello.Ledger == chosen.Ledger {
			found = true
		} else {
			chosen.Over = addLedger(chosen.Over, hello.Ledger)
		}
	}
	if !found {
		return refusedf("no board that answers has ledger %s", chosen.Ledger)
	}
	err = l.sendWord(ctx, hellos, kindChoose, chosen)
	return errors.Join(err, l.applyChoice(chosen)) // this board last: it may restart
}

// applyChoice applies an operator's choice on this board.
func (l *Ledger) applyChoice(c chooseRequest) error {
	l.mu.Lock()
	changed := l.files.identity
	switch changed.Ledger {
	case c.Ledger:
		for _, id := range c.Over {
			changed.Superseded = addLedger(changed.Superseded, id)
		}
	case 0:
		changed.JoinLedger = c.Ledger
	default:
		l.mu.Unlock()
		why := fmt.Sprintf("an operator chose ledger %s instead of %s", c.Ledger, changed.Ledger)
		return l.changeIdentity(why, func(id *boardIdentity) { id.NewLife, id.JoinLedger = why, c.Ledger })
	}
	err := changed.saveTo(l.files.stable)
	if err == nil {
		l.files.identity = changed
	}
	l.mu.Unlock()
	l.otherLedgers.removeLedgers(c.Over)
	return err
}
