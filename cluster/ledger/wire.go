package ledger

import (
	"encoding/binary"
	"fmt"
	"time"
)

// The calls between boards, besides raft's streams: the kinds of Transport.Call.
const (
	kindHello       = "hello"        // the survey: helloRequest, helloResponse
	kindPrepare     = "prepare"      // founding: prepareRequest, prepareResponse
	kindAccept      = "accept"       // founding: acceptRequest, acceptResponse
	kindSubmit      = "submit"       // a batch for the leader: batchRequest, batchResponse
	kindCommitIndex = "commit-index" // of the leader: commitIndexRequest, commitIndexResponse
	kindFound       = "found"        // an operator's word: foundRequest, {}
	kindRecover     = "recover"      // an operator's word: recoverRequest, recoverResponse
	kindChoose      = "choose"       // an operator's word: chooseRequest, {}
	kindClock       = "clock"        // of the leader: {}, ClockReport
	kindSetClock    = "set-clock"    // of the leader: setClockRequest, setClockResponse
)

type helloRequest struct {
	Server raftServer
	Ledger ledgerID
	// Superseded is as in boardIdentity.
	Superseded []ledgerID `json:",omitempty"`
	// MaxRules is the highest rules version that the board offers, see Ledger.offeredRules. 0: its
	// program is from before rules versions.
	MaxRules uint32 `json:",omitempty"`
	// DigestAt is the index of the last batch that the caller has applied, for the comparison
	// of digests.
	DigestAt uint64 `json:",omitempty"`
	Life     lifeProof
	// Proven is the last entry that the caller knows to be committed, if it asks for HasProven.
	Proven entryPoint `json:",omitzero"`
	Log    logDescent
}

// entryPoint names an entry of raft's log.
type entryPoint struct{ Index, Term uint64 }

type helloResponse struct {
	Server raftServer
	Ledger ledgerID
	Life   lifeProof
	Log    logDescent
	// NameConflicts are the names that two boards claim, a sentence each, as the leader has them.
	NameConflicts []string     `json:",omitempty"`
	RolledBack    bool         `json:",omitempty"` // the caller's files are older than those that it had before
	HasProven     bool         `json:",omitempty"` // the board has the entry that the caller asks for
	Accused       bool         `json:",omitempty"` // another board has seen a later state of the board
	FirstVoters   []raftServer // the ledger's first voters, if known
	Index         uint64       // of the last entry that the board applied
	Compacted     uint64       `json:",omitempty"` // as in Status
	SetAside      int          `json:",omitempty"` // the number of folders with files that were set aside
	Trouble       string       // why the board should not vote, "" if nothing
	Superseded    []ledgerID   `json:",omitempty"` // see boardIdentity
	Boards        int          `json:",omitempty"` // see Config
	Voter         bool         `json:",omitempty"`
	Voters        []raftServer `json:",omitempty"` // as the board's configuration has them; nil from an older program
	LastTerm      uint64       `json:",omitempty"` // of the last entry that the board has
	HasLeader     bool         `json:",omitempty"` // the board knows a leader
	Lost          string       `json:",omitempty"` // see boardIdentity
	Leading       bool
	Clock         int64 // the ledger's clock, Unix nanoseconds
	ClockKnown    bool  // the board knows it
	// ClockSetIndex is the entry by which an operator set it last, 0 for none. A board that
	// has not applied that entry must not take over Clock.
	ClockSetIndex uint64 `json:",omitempty"`
	ClockHeld     string `json:",omitempty"` // why the ledger's clock is held, if the board leads
	ClockHeldFor  int64  `json:",omitempty"` // nanoseconds
	OwnClock      int64  // the board's own clock, Unix nanoseconds
	OwnClockSet   bool   // it seems to be set
	OwnServers    int    `json:",omitempty"` // ClockState.Servers

	received, roundTrip time.Duration // by the caller's monotonic clock; not sent

	MaxRules uint32 `json:",omitempty"` // as in helloRequest
	// RulesHeldBy are the boards that keep the rules version from rising, if the board leads.
	RulesHeldBy []string `json:",omitempty"`
	// Kept are the committed entries that a leader wants to delete and this board keeps, "" if none.
	// KeptInRack is that of any board, as the leader has it.
	Kept       string `json:",omitempty"`
	KeptInRack string `json:",omitempty"`
	// DigestIndex and Digest are the board's digest at DigestAt if it remembers that, else at
	// the last batch that it applied. DigestIndex is 0 if it has applied none, or vouches for nothing: see
	// divergence.go.
	DigestIndex, Digest uint64
	// Suspect: the Trouble is only that this board's digest differs from a leader's, see divergence.go.
	Suspect bool `json:",omitempty"`
}

// hasEntries reports whether the board has a ledger, and not only its identity: a board
// that joins one has nothing of it before the leader has sent an entry.
func (h *helloResponse) hasEntries() bool { return h.Ledger != 0 && h.Life.Entries != 1 }

// noteArrival notes when the response arrived, and how long the exchange took.
func (h *helloResponse) noteArrival(received, roundTrip time.Duration) {
	h.received, h.roundTrip = received, roundTrip
}

// setClockRequest sets the ledger's clock by an operator's word. The command records that.
type setClockRequest struct {
	To      int64 // Unix nanoseconds; 0: the clock is confirmed as it is
	Command []byte
}

type setClockResponse struct {
	Status batchStatus
	Index  uint64
	Reply  []byte
	Text   string // if not done
}

type prepareRequest struct {
	Ballot ballot
	Boards int
	ByWord bool `json:",omitempty"` // the proposer founds by an operator's word
}

// foundRequest is an operator's word to found a ledger.
type foundRequest struct {
	Answering []string // server ids of the boards that answered the operator
}

type acceptRequest struct {
	Ballot    ballot
	Bootstrap bootstrapConfig
	ByWord    bool `json:",omitempty"` // as in prepareRequest
}

type acceptResponse struct {
	OK      bool
	Highest ballot
}

// commitIndexRequest names the ledger whose leader is meant.
type commitIndexRequest struct{ Ledger ledgerID }

// recoverRequest is an operator's word to recover the ledger on the called board, or
// only to plan that.
type recoverRequest struct {
	Confirmed bool
	Over      []ledgerID // by a choice: also a ledger that was given up, and over these
}

type recoverResponse struct {
	Plan    RecoveryPlan
	Refused string // the error of the kind ErrRefused, "" if none
}

// chooseRequest is an operator's choice of a ledger over others.
type chooseRequest struct {
	Ledger ledgerID
	Over   []ledgerID
}

type commitIndexResponse struct {
	OK            bool
	Index         uint64
	Clock         int64  // the ledger's clock, unix nanoseconds; 0 from a program before it was sent
	ClockSetIndex uint64 // of the last entry by which an operator set it
}

// wireVersion is the first byte of a batch and of its response.
const wireVersion = 2

// batchRequest is a batch for the leader of a term.
type batchRequest struct {
	Term     uint64
	ID       batchID
	Ledger   ledgerID // another life of the leader's board may lead another ledger
	Commands [][]byte
}

// batchHead is the number of bytes before a batch's commands.
const batchHead = 1 + 4*8

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
	b := make([]byte, 0, batchHead+listSize(r.Commands))
	b = append(b, wireVersion)
	b = binary.LittleEndian.AppendUint64(b, r.Term)
	b = binary.LittleEndian.AppendUint64(b, r.ID.Sender)
	b = binary.LittleEndian.AppendUint64(b, r.ID.Number)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Ledger))
	return appendList(b, r.Commands)
}

func decodeBatchRequest(b []byte) (r batchRequest, err error) {
	if len(b) < batchHead || b[0] != wireVersion {
		return r, fmt.Errorf("%w: the header of a batch", errEntry)
	}
	r.Term = binary.LittleEndian.Uint64(b[1:])
	r.ID = batchID{binary.LittleEndian.Uint64(b[9:]), binary.LittleEndian.Uint64(b[17:])}
	r.Ledger = ledgerID(binary.LittleEndian.Uint64(b[25:]))
	if r.Commands, err = readList(b[batchHead:]); err != nil {
		return r, err
	}
	if len(r.Commands) == 0 {
		return r, fmt.Errorf("%w: a batch without commands", errEntry)
	}
	return r, checkBatch(r.Commands)
}

func (r batchResponse) encode() []byte {
	b := make([]byte, 0, 16+len(r.Text)+listSize(r.Replies))
	b = append(b, wireVersion, byte(r.Status))
	b = binary.LittleEndian.AppendUint64(b, r.Index)
	if r.Status == batchDone {
		return appendList(b, r.Replies)
	}
	return append(b, r.Text...)
}

func decodeBatchResponse(b []byte) (r batchResponse, err error) {
	if len(b) < 10 || b[0] != wireVersion || b[1] > byte(batchTwoLedgers) {
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
