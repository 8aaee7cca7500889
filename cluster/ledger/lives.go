package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// A raft server is a board in one of its lives: it must never forget what it has
// promised. This file notices a life that did forget: its card was put back from an
// older copy, or copied while two boards run from the copies.

// maxRecentStarts limits the starts that a board remembers of itself. A peer that has
// missed more starts than that cannot tell any more whether a board forgot one.
const maxRecentStarts = 32

// startHistory describes the starts of a life. Each start has a random number, which is on
// disk before the board speaks.
type startHistory struct {
	Count  uint64   // starts so far
	Recent []uint32 // numbers of the last starts, the newest last; at most maxRecentStarts
}

// addStart returns the history with one more start.
func (s startHistory) addStart(number uint32) startHistory {
	recent := append(append([]uint32(nil), s.Recent...), number)
	return startHistory{s.Count + 1, recent[max(0, len(recent)-maxRecentStarts):]}
}

// lifeProof is what a server reports of its files.
type lifeProof struct {
	Starts  startHistory
	Applied uint64 // index of the last entry that it applied
	Entries uint64 // index of the last entry that it has, plus one; 0 while raft does not run
}

// knownStart is the newest start of another server that a board has seen.
type knownStart struct {
	Count  uint64
	Number uint32
	Name   string `json:",omitempty"` // of the board since then; "" from an older program
}

// newest returns the newest start, without a name.
func (s startHistory) newest() knownStart {
	if len(s.Recent) == 0 {
		return knownStart{}
	}
	return knownStart{s.Count, s.Recent[len(s.Recent)-1], ""}
}

// includes reports whether a history contains a start that was seen before. A start that
// is too long ago counts as contained.
func (s startHistory) includes(k knownStart) bool {
	if k.Count == 0 {
		return true
	}
	if s.Count < k.Count {
		return false
	}
	ago := s.Count - k.Count
	return ago >= uint64(len(s.Recent)) || s.Recent[uint64(len(s.Recent))-1-ago] == k.Number
}

// errRolledBack: a server's files lack a start that another board has seen.
var errRolledBack = errors.New("its files are older than those it had: its card was put back from a copy, or two boards run from copies of one card")

// knownServers is what a board knows of the other servers: their newest starts, and the names
// that their boards have since then. It is safe for concurrent use.
type knownServers struct {
	stable *stableStore

	mu      sync.Mutex            // guards the rest
	heard   map[string]knownStart // also from servers whose raft does not run yet
	starts  map[string]knownStart // on disk
	applied map[string]uint64     // the highest index that a server has applied
}

func readKnownServers(stable *stableStore) (*knownServers, error) {
	k := &knownServers{stable: stable, heard: map[string]knownStart{}, starts: map[string]knownStart{}, applied: map[string]uint64{}}
	err := stable.getJSON(keyStarts, &k.starts)
	maps.Copy(k.heard, k.starts)
	return k, err
}

// maxKnownServers limits the servers that a board remembers. A rack makes a new one with
// every card that is replaced.
const maxKnownServers = 4 * maxBoards

// note remembers a server's name, newest start and applied entries. The error is
// errRolledBack if the server has forgotten a start, or an entry that it had applied
// before its newest start. Messages of one start may arrive in any order.
func (k *knownServers) note(s raftServer, p lifeProof) error {
	if s.ID == "" || s.Name == "" || len(s.ID) > maxServerID || len(s.Name) > maxName || len(p.Starts.Recent) > maxRecentStarts {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	seen, newest := k.starts[s.ID], p.Starts.newest()
	newest.Name = s.Name
	isNew := newest.Count != seen.Count || newest.Number != seen.Number
	switch {
	case newest.Count == 0:
	case !p.Starts.includes(seen), isNew && p.Entries > 0 && p.Entries <= k.applied[s.ID]:
		return errRolledBack
	}
	k.applied[s.ID] = max(k.applied[s.ID], p.Applied)
	if _, known := k.heard[s.ID]; !known && len(k.heard) >= maxKnownServers {
		clear(k.heard)
		clear(k.applied)
	}
	if newest.Count >= k.heard[s.ID].Count { // a late message has an older name
		k.heard[s.ID] = newest
	}
	// While raft does not run, the server has not said which entries it has.
	if newest.Count == 0 || newest == seen || p.Entries == 0 {
		return nil
	}
	if seen.Count == 0 && len(k.starts) >= maxKnownServers {
		clear(k.starts) // they are of lives that are long over, but for a few
	}
	k.starts[s.ID] = newest
	if err := k.stable.putJSON(keyStarts, k.starts); err != nil {
		delete(k.starts, s.ID) // it is noted again with the next message
	}
	return nil
}

// nameOf returns the last name of a server's board that was heard, "" if none was.
func (k *knownServers) nameOf(id string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.heard[id].Name
}

// birthName returns the name that a board had when its server id was made.
func birthName(id string) string {
	if i := strings.LastIndexByte(id, '.'); i > 0 {
		return id[:i]
	}
	return id
}

// boardName returns the present name of the board with a server id, as far as this board
// knows, never "". Handshakes find out whether the board of that name is that server.
func (l *Ledger) boardName(server string) string {
	l.mu.Lock()
	self, r := l.selfLocked(), l.raft
	l.mu.Unlock()
	if server == self.ID {
		return self.Name
	}
	if name := l.known.nameOf(server); name != "" {
		return name
	}
	for _, s := range listMembers(r) {
		if string(s.ID) == server && s.Address != "" && string(s.Address) != server {
			return string(s.Address) // an older program made names addresses
		}
	}
	return birthName(server)
}

// proveLife returns what this board reports of its files.
func (l *Ledger) proveLife() lifeProof {
	l.mu.Lock()
	p, r := lifeProof{Starts: l.files.identity.Starts}, l.raft
	l.mu.Unlock()
	p.Applied = l.applier.state().index
	if r != nil {
		p.Entries = r.LastIndex() + 1
	}
	return p
}

// introduceSelf says hello once to each live board, and not to the leader alone: a copy of this
// board's card that starts later must not get past any of them.
func (l *Ledger) introduceSelf(ctx context.Context, id ledgerID) {
	others := l.otherBoards()
	l.mu.Lock()
	others = slices.DeleteFunc(others, func(other raftServer) bool { return l.survey.introduced[other.Name] })
	l.mu.Unlock()
	for _, hello := range callAll[helloResponse](ctx, l, others, kindHello, l.newHello()) {
		l.noteHello(id, hello)
		l.mu.Lock()
		if l.survey.introduced == nil || len(l.survey.introduced) >= maxKnownServers {
			l.survey.introduced = map[string]bool{}
		}
		l.survey.introduced[hello.Server.Name] = true
		l.mu.Unlock()
	}
}

// requestSurvey makes runSurvey begin the next survey at once.
func (l *Ledger) requestSurvey() {
	select {
	case l.surveyNow <- struct{}{}:
	default:
	}
}

func (l *Ledger) handshake(wanted string) streamHandshake {
	l.mu.Lock()
	h := streamHandshake{Ledger: l.files.identity.Ledger, Server: l.selfLocked(), Wanted: wanted}
	l.mu.Unlock()
	h.Life = l.proveLife()
	return h
}

func (l *Ledger) checkHandshake(h streamHandshake, board string) error {
	l.mu.Lock()
	own, self := l.files.identity.Ledger, l.selfLocked()
	l.mu.Unlock()
	l.noteLedgerOf(own, board, h.Ledger, nil)
	if h.Ledger != own {
		return fmt.Errorf("it belongs to ledger %s, not %s", h.Ledger, own)
	}
	if h.Wanted != self.ID {
		return fmt.Errorf("%w: %s, not %s", errOtherLife, h.Wanted, self.ID)
	}
	if l.accusedBy() != "" {
		return errAccused
	}
	return l.known.note(h.Server, h.Life)
}

func (l *Ledger) checkResponse(wanted, board string, r handshakeResponse) error {
	if r.RolledBack {
		l.noteRolledBack(board)
	}
	switch {
	case r.Refused != "":
		return errors.New("refused: " + r.Refused)
	case r.Server.ID != wanted:
		return fmt.Errorf("%w: %s answers", errOtherLife, r.Server.ID)
	case l.accusedBy() != "":
		return errAccused
	}
	return l.known.note(r.Server, r.Life)
}

// noteRolledBack notes that another board has seen a later part of this life. Until
// judgeOwnLife knows more, raft here neither votes nor leads.
func (l *Ledger) noteRolledBack(board string) {
	l.mu.Lock()
	isNew := l.survey.accuser == ""
	l.survey.accuser = board
	s := l.streams
	l.mu.Unlock()
	if !isNew {
		return
	}
	l.cfg.Logger.Warn("ledger: a board has seen a later state of this board; raft stands still here until that is clear", "board", board)
	if s != nil {
		s.closeOpen()
	}
	l.requestSurvey()
}

// errAccused: see noteRolledBack.
var errAccused = errors.New("another board has seen a later state of this board")

// accusedBy returns the board that has seen a later part of this life, "" if there is none.
func (l *Ledger) accusedBy() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.survey.accuser
}

// isOwnOlder reports whether a hello is of an older copy of this board's card: it is of this
// life, and lacks entries that this board knows to be committed.
func (l *Ledger) isOwnOlder(request helloRequest) bool {
	l.mu.Lock()
	self := l.selfLocked()
	l.mu.Unlock()
	return request.Server.ID == self.ID && request.Server.Name != self.Name &&
		request.Life.Entries > 0 && request.Life.Entries <= l.files.log.proven.Load()
}

// judgement is what the other boards answer about this life.
type judgement struct {
	isAccused   bool // a board has seen a later state of it
	isOver      bool // the accuser answers, and none accuses: it has another ledger or life now
	isHeld      bool // a sound board has what this one knows to be committed, or that is nothing
	leaderLacks bool // the leader lacks it
}

// judgeLife returns what the boards of ledger id answer about this life. isOlder reports
// whether a board's own files are older than those it had. Such a board, or one that is accused
// itself, does not count as a holder: two copies that accuse each other would both give theirs up.
func judgeLife(id ledgerID, accuser string, hellos []helloResponse, isOlder func(helloResponse) bool) (j judgement) {
	for _, hello := range hellos {
		j.isOver = j.isOver || hello.Server.Name == accuser
		if hello.Ledger == id {
			j.isAccused = j.isAccused || hello.RolledBack
			j.isHeld = j.isHeld || hello.HasProven && !hello.Accused && !isOlder(hello)
			j.leaderLacks = j.leaderLacks || hello.Leading && !hello.HasProven
		}
	}
	j.isOver = j.isOver && !j.isAccused
	return j
}

// judgeOwnLife ends this life if another board has what this one knows to be committed: the
// next life begins without a vote, and the others send it the orders. If the leader lacks it,
// a copy of this board's card took this life over: then the entries stay, the rack
// stops, and an operator decides.
func (l *Ledger) judgeOwnLife(ctx context.Context, id ledgerID, accuser string) {
	request := l.newHello()
	request.Proven = l.files.log.lastProven()
	hellos := callAll[helloResponse](ctx, l, l.otherBoards(), kindHello, request)
	j := judgeLife(id, accuser, hellos, func(h helloResponse) bool { return l.known.note(h.Server, h.Life) != nil })
	j.isHeld = j.isHeld || request.Proven.Index == 0
	if j.leaderLacks && !j.isHeld && !j.isOver {
		l.files.log.noteKept(fmt.Sprintf("entries up to %d, which the rack had acknowledged", request.Proven.Index))
	}
	l.mu.Lock()
	l.survey.disowned = !j.isOver && !j.isHeld
	if j.isOver {
		l.survey.accuser = ""
	}
	l.mu.Unlock()
	if j.isOver || !j.isHeld {
		return
	}
	why := fmt.Sprintf("%s has seen a later state of this board: %v", accuser, errRolledBack)
	if err := l.restartAs(why, func(id *boardIdentity) { id.NewLife = why }); err != nil {
		l.cfg.Logger.Error("ledger: this board must begin a new life, and cannot write that to disk", "why", why, "error", err)
	}
}

// restartAs changes this board's identity on disk, and ends Run with ErrRestart: the next
// start acts on it.
func (l *Ledger) restartAs(why string, change func(*boardIdentity)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := l.files.identity // which stays: this start goes on as it is
	change(&changed)
	if err := l.files.stable.putJSON(keyBoard, changed); err != nil {
		return err
	}
	l.cfg.Logger.Error("ledger: this board opens its files again", "why", why)
	l.requestRestart()
	return nil
}

// requestRestart ends Run with ErrRestart.
func (l *Ledger) requestRestart() {
	select {
	case l.restart <- struct{}{}:
	default:
	}
}
