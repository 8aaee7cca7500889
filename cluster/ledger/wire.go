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
	kindHello       = "hello"   // how are you: helloAsk, helloSaid
	kindPrepare     = "promise" // founding: promiseAsk, promised
	kindAccept      = "accept"  // founding: acceptAsk, acceptSaid
	kindSubmit      = "submit"  // a batch for the leader: batchAsk, batchSaid
	kindCommitIndex = "commit"  // of the leader: commitSaid
)

// Kinds are the words that Link.Ask is called with.
func Kinds() []string {
	return []string{kindHello, kindPrepare, kindAccept, kindSubmit, kindCommitIndex}
}

type helloRequest struct {
	Server raftServer
	Ledger ledgerID
}

type helloResponse struct {
	Server      raftServer
	Ledger      ledgerID
	FirstVoters []raftServer // with Ledger: its first voters, if known
	Index       uint64       // carried out so far
	Trouble     string       // why this board should not vote, "" if nothing
	Foreign     []string     // boards of another ledger that it has met
	Leading     bool
	Clock       int64 // Unix nanoseconds: of the ledger if Known, else of the board
	ClockKnown  bool  // Clock is the ledger's
	OwnClockSet bool  // the board's own clock seems to be set
}

type prepareRequest struct {
	Ballot ballot
	Boards int
}

type acceptRequest struct {
	Ballot    ballot
	Bootstrap bootstrapConfig
}

type acceptResponse struct {
	OK      bool
	Highest ballot
}

type commitIndexResponse struct {
	OK    bool
	Index uint64
}

// batchRequest is a batch for the leader of a term.
type batchRequest struct {
	Term     uint64
	ID       batchID
	Commands [][]byte
}

// batchStatus is what a leader says of a batch.
type batchStatus uint8

const (
	batchDone       batchStatus = iota // carried out
	batchRefused                       // surely not in the log, and will not be: try again
	batchUncertain                     // may be in the log: watch for it
	batchHalted                        // the leader's machine stands still; with an index: since the batch came
	batchTwoLedgers                    // the rack has two ledgers
)

func (v batchStatus) String() string {
	return [...]string{"done", "refused", "unsure", "halted", "two ledgers"}[v]
}

type batchResponse struct {
	Status  batchStatus
	Index   uint64
	Replies [][]byte
	Text    string // if not done
}

func (q batchRequest) encode() []byte {
	b := make([]byte, 0, 25+listSize(q.Commands))
	b = append(b, entryVersion)
	b = binary.LittleEndian.AppendUint64(b, q.Term)
	b = binary.LittleEndian.AppendUint64(b, q.ID.Origin)
	b = binary.LittleEndian.AppendUint64(b, q.ID.Number)
	return appendList(b, q.Commands)
}

func decodeBatchRequest(b []byte) (q batchRequest, err error) {
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

func (s batchResponse) encode() []byte {
	b := make([]byte, 0, 16+len(s.Text)+listSize(s.Replies))
	b = append(b, entryVersion, byte(s.Status))
	b = binary.LittleEndian.AppendUint64(b, s.Index)
	if s.Status == batchDone {
		return appendList(b, s.Replies)
	}
	return append(b, s.Text...)
}

func decodeBatchResponse(b []byte) (s batchResponse, err error) {
	if len(b) < 10 || b[0] != entryVersion || b[1] > byte(batchTwoLedgers) {
		return s, fmt.Errorf("%w: an answer's head", errEntry)
	}
	s.Status, s.Index = batchStatus(b[1]), binary.LittleEndian.Uint64(b[2:])
	if s.Status == batchDone {
		s.Replies, err = readList(b[10:])
		return s, err
	}
	s.Text = string(b[10:])
	return s, nil
}

// readJSON reads one of the small questions and answers.
func readJSON[T any](b []byte) (v T, err error) {
	if len(b) > MaxCallBytes {
		return v, errors.New("too long")
	}
	err = json.Unmarshal(b, &v)
	return v, err
}
