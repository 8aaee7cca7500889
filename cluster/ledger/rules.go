package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// The rules version says by which rules a state machine carries out a batch's commands. A
// program that changes a rule knows one version more than the program before, and still knows
// the old ones. Each entry carries the version that it was proposed under, so an old log gives
// the same state for ever. The version rises when all boards of the rack have offered it, and never
// falls. A board offers it when it has been up for RulesWait with the program that knows it: until then
// it can go back to the program before, and an update on trial does that by itself.

// firstRules is the rules version of the program before rules versions.
const firstRules = 1

// errProgramTooOld: the ledger was written by a newer program. Nothing is damaged.
var errProgramTooOld = errors.New("install the newer program on this board (or the same one as on the others), and start it again; nothing is lost")

// checkKnown returns an error if this board's program does not know a rules version or a flag.
// (Such a board applies nothing, and is not ready.)
func (a *applier) checkKnown(rules, flags uint32) error {
	switch {
	case rules > a.maxRules:
		return fmt.Errorf("this board's program knows rules %d, the ledger uses %d: %w", a.maxRules, rules, errProgramTooOld)
	case flags&^knownFlags != 0:
		return fmt.Errorf("this board's program does not know the entry's flags %x: %w", flags, errProgramTooOld)
	}
	return nil
}

// agreeRules returns the highest rules version that every board in versions offers, at least
// the one in force, and the boards, sorted, that keep it below own, which the leader offers. A board
// that never told its version has 0, which counts as the first.
func agreeRules(own, inForce uint32, versions map[string]uint32) (rules uint32, heldBy []string) {
	rules = own
	for board, v := range versions {
		v = max(v, firstRules)
		if v < own && inForce < own {
			heldBy = append(heldBy, board)
		}
		rules = min(rules, v)
	}
	slices.Sort(heldBy)
	return max(rules, inForce), heldBy
}

// noteMaxRules notes the highest rules version that a board offers, by its server id, and whether
// its program is from before rules versions. mu is held.
func (s *surveyState) noteMaxRules(server raftServer, rules uint32) {
	if len(server.Name) <= maxName {
		s.olderPrograms = slices.DeleteFunc(s.olderPrograms, func(name string) bool { return name == server.Name })
		if rules == 0 && server.Name != "" && len(s.olderPrograms) < maxBoards {
			s.olderPrograms = append(s.olderPrograms, server.Name)
			slices.Sort(s.olderPrograms)
		}
	}
	if s.maxRules == nil || len(s.maxRules) > maxBoards { // ids of boards' former lives
		s.maxRules = map[string]uint32{}
	}
	s.maxRules[server.ID] = max(rules, firstRules)
}

// noteRulesHeld notes which boards keep the rules version from rising. mu is held.
func (s *surveyState) noteRulesHeld(by []string) {
	switch {
	case len(by) == 0:
		s.rulesHeldAt = time.Time{}
	case len(s.rulesHeldBy) == 0:
		s.rulesHeldAt = time.Now()
	}
	s.rulesHeldBy = by
}

// offeredRules returns the rules version that this board offers the rack.
func (l *Ledger) offeredRules() uint32 {
	if time.Now().Before(l.offersRulesAt) {
		return firstRules
	}
	return l.applier.maxRules
}

// chooseRules returns the rules version for the leader's next entry, and the boards that keep it
// from rising.
func (l *Ledger) chooseRules(r *raft.Raft) (rules uint32, heldBy []string) {
	inForce, members := l.applier.state().rules, listMembers(r)
	l.mu.Lock()
	versions := l.survey.listRules(members, l.files.identity.Server, time.Now().Add(-presentSurveys*l.cfg.Timing.Survey))
	l.mu.Unlock()
	rules, ids := agreeRules(l.offeredRules(), inForce, versions)
	for _, id := range ids {
		heldBy = append(heldBy, l.boardName(id))
	}
	slices.Sort(heldBy)
	return rules, slices.Compact(heldBy) // a member and its next life have one name
}

// listRules returns the rules version of each server but one, by server id: of all members, with the last version
// that a silent one reported, and of boards that have answered since a time but are no members yet. mu is held.
func (s *surveyState) listRules(members []raft.Server, without string, since time.Time) map[string]uint32 {
	versions := map[string]uint32{}
	for _, m := range members {
		versions[string(m.ID)] = s.maxRules[string(m.ID)]
	}
	for id, a := range s.answers {
		if a.at.After(since) {
			versions[id] = a.hello.MaxRules
		}
	}
	delete(versions, without)
	return versions
}

// raiseRules commits an entry without commands, so that the rules rise also while nobody orders.
func (l *Ledger) raiseRules(ctx context.Context, r *raft.Raft) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timing.RPC)
	defer cancel()
	awaitEntry(ctx, l.appendEntry(r, entry{Term: r.CurrentTerm(), Stamp: time.Unix(0, 0)}))
}
