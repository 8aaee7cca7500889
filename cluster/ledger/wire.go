package ledger

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// What boards ask of each other, beside raft's streams. The kinds are the
// words of Link.Ask.
const (
	kindHello   = "hello"   // how are you: helloAsk, helloSaid
	kindPromise = "promise" // founding: promiseAsk, promised
	kindAccept  = "accept"  // founding: acceptAsk, acceptSaid
	kindSubmit  = "submit"  // a batch for the leader: batchAsk, batchSaid
	kindCommit  = "commit"  // of the leader: commitSaid
)

// Kinds are the words that Link.Ask is called with.
func Kinds() []string {
	return []string{kindHello, kindPromise, kindAccept, kindSubmit, kindCommit}
}

type helloAsk struct {
	Seat   seat
	Ledger ledgerID
}

type helloSaid struct {
	Seat    seat
	Ledger  ledgerID
	First   []seat   // with Ledger: its first voters, if known
	Index   uint64   // carried out so far
	Trouble string   // why this board should not vote, "" if nothing
	Foreign []string // boards of another ledger that it has met
	Leading bool
	Clock   int64 // Unix nanoseconds: of the ledger if Known, else of the board
	Known   bool  // Clock is the ledger's
	Set     bool  // the board's own clock seems to be set
}

type promiseAsk struct {
	Ballot ballot
	Boards int
}

type acceptAsk struct {
	Ballot  ballot
	Charter charter
}

type acceptSaid struct {
	OK      bool
	Highest ballot
}

type commitSaid struct {
	OK    bool
	Index uint64
}

// batchAsk is a batch for the leader of a term.
type batchAsk struct {
	Term     uint64
	ID       batchID
	Commands [][]byte
}

// verdict is what a leader says of a batch.
type verdict uint8

const (
	done      verdict = iota // carried out
	refused                  // surely not in the log, and will not be: try again
	unsure                   // may be in the log: watch for it
	haltedNow                // the leader's machine stands still; with an index: since the batch came
	foreignly                // the rack has two ledgers
)

func (v verdict) String() string {
	return [...]string{"done", "refused", "unsure", "halted", "two ledgers"}[v]
}

type batchSaid struct {
	Verdict verdict
	Index   uint64
	Replies [][]byte
	Text    string // if not done
}

func (q batchAsk) encode() []byte {
	b := make([]byte, 0, 25+listSize(q.Commands))
	b = append(b, entryVersion)
	b = binary.LittleEndian.AppendUint64(b, q.Term)
	b = binary.LittleEndian.AppendUint64(b, q.ID.Origin)
	b = binary.LittleEndian.AppendUint64(b, q.ID.Number)
	return appendList(b, q.Commands)
}

func decodeBatchAsk(b []byte) (q batchAsk, err error) {
	if len(b) < 25 || b[0] != entryVersion {
		return q, fmt.Errorf("%w: a batch's head", errEntry)
	}
	q.Term = binary.LittleEndian.Uint64(b[1:])
	q.ID = batchID{binary.LittleEndian.Uint64(b[9:]), binary.LittleEndian.Uint64(b[17:])}
	if q.Commands, err = readList(b[25:]); err != nil {
		return q, err
	}
	if len(q.Commands) == 0 {
		return q, fmt.Errorf("%w: a batch without commands", errEntry)
	}
	return q, checkBatch(q.Commands)
}

func (s batchSaid) encode() []byte {
	b := make([]byte, 0, 16+len(s.Text)+listSize(s.Replies))
	b = append(b, entryVersion, byte(s.Verdict))
	b = binary.LittleEndian.AppendUint64(b, s.Index)
	if s.Verdict == done {
		return appendList(b, s.Replies)
	}
	return append(b, s.Text...)
}

func decodeBatchSaid(b []byte) (s batchSaid, err error) {
	if len(b) < 10 || b[0] != entryVersion || b[1] > byte(foreignly) {
		return s, fmt.Errorf("%w: an answer's head", errEntry)
	}
	s.Verdict, s.Index = verdict(b[1]), binary.LittleEndian.Uint64(b[2:])
	if s.Verdict == done {
		s.Replies, err = readList(b[10:])
		return s, err
	}
	s.Text = string(b[10:])
	return s, nil
}

// readJSON reads one of the small questions and answers.
func readJSON[T any](b []byte) (v T, err error) {
	if len(b) > MaxAsk {
		return v, errors.New("too long")
	}
	err = json.Unmarshal(b, &v)
	return v, err
}
