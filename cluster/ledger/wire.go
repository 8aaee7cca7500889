package ledger

import (
	"encoding/binary"
	"fmt"
)

// The calls between boards, besides raft's streams: the kinds of Transport.Call.
const (
	kindHello       = "hello"        // the survey: helloRequest, helloResponse
	kindPrepare     = "prepare"      // founding: prepareRequest, prepareResponse
	kindAccept      = "accept"       // founding: acceptRequest, acceptResponse
	kindSubmit      = "submit"       // a batch for the leader: batchRequest, batchResponse
	kindCommitIndex = "commit-index" // of the leader: {}, commitIndexResponse
)

type helloRequest struct {
	Server raftServer
	Ledger ledgerID
}

type helloResponse struct {
	Server      raftServer
	Ledger      ledgerID
	FirstVoters []raftServer // the ledger's first voters, if known
	Index       uint64       // of the last entry that the board applied
	Trouble     string       // why the board should not vote, "" if nothing
	Foreign     []string     // boards of another ledger that it has seen
	Leading     bool
	Clock       int64 // Unix nanoseconds: of the ledger if ClockKnown, else of the board
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

// batchStatus is the outcome of a batch, as far as its leader knows.
type batchStatus uint8

const (
	batchDone       batchStatus = iota // applied
	batchRefused                       // not in the log, and never will be: retry it
	batchUncertain                     // may be in the log: watch for it
	batchHalted                        // the leader has halted; with an index: on this batch
	batchTwoLedgers                    // the rack has two ledgers
)

func (b batchStatus) String() string {
	return [...]string{"done", "refused", "uncertain", "halted", "two ledgers"}[b]
}

type batchResponse struct {
	Status  batchStatus
	Index   uint64
	Replies [][]byte
	Text    string // if not done
}

func (r batchRequest) encode() []byte {
	b := make([]byte, 0, 25+listSize(r.Commands))
	b = append(b, entryVersion)
	b = binary.LittleEndian.AppendUint64(b, r.Term)
	b = binary.LittleEndian.AppendUint64(b, r.ID.Sender)
	b = binary.LittleEndian.AppendUint64(b, r.ID.Number)
	return appendList(b, r.Commands)
}

func decodeBatchRequest(b []byte) (r batchRequest, err error) {
	if len(b) < 25 || b[0] != entryVersion {
		return r, fmt.Errorf("%w: the header of a batch", errEntry)
	}
	r.Term = binary.LittleEndian.Uint64(b[1:])
	r.ID = batchID{binary.LittleEndian.Uint64(b[9:]), binary.LittleEndian.Uint64(b[17:])}
	if r.Commands, err = readList(b[25:]); err != nil {
		return r, err
	}
	if len(r.Commands) == 0 {
		return r, fmt.Errorf("%w: a batch without commands", errEntry)
	}
	return r, checkBatch(r.Commands)
}

func (r batchResponse) encode() []byte {
	b := make([]byte, 0, 16+len(r.Text)+listSize(r.Replies))
	b = append(b, entryVersion, byte(r.Status))
	b = binary.LittleEndian.AppendUint64(b, r.Index)
	if r.Status == batchDone {
		return appendList(b, r.Replies)
	}
	return append(b, r.Text...)
}

func decodeBatchResponse(b []byte) (r batchResponse, err error) {
	if len(b) < 10 || b[0] != entryVersion || b[1] > byte(batchTwoLedgers) {
		return r, fmt.Errorf("%w: the header of a batch's response", errEntry)
	}
	r.Status, r.Index = batchStatus(b[1]), binary.LittleEndian.Uint64(b[2:])
	if r.Status == batchDone {
		r.Replies, err = readList(b[10:])
		return r, err
	}
	r.Text = string(b[10:])
	return r, nil
}
