package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Limits of one batch.
const (
	// maxBatchCommands limits the commands in one batch.
	maxBatchCommands = 256
	// maxBatchBytes limits the size of a batch's commands together. One command of
	// MaxCommand always fits.
	maxBatchBytes = 256 << 10
	// entryVersion1 and entryVersion2 are the first bytes of an entry: the version of its
	// encoding. An entry that version 1 can express is written in it, so that the program
	// before can still read the log until the rules rise.
	entryVersion1 = 1
	entryVersion2 = 2
)

// batchID identifies a batch for all time: the sender that made it, and its
// number there, from 1. A board is a new sender after each start.
type batchID struct {
	Sender uint64 // random, new at every start of a board
	Number uint64
}

// entry is the content of one log entry: one batch of commands, and the leader's
// additions. A batch without commands only marks the beginning of a term and
// advances the clock.
type entry struct {
	// Term is the term that the batch is meant for. In a log entry of any other
	// term it is void: so once a later term has begun, the batch can never be
	// committed.
	Term  uint64
	Stamp time.Time // ledger's clock, to the nanosecond, UTC; Unix 0: the entry has no time
	ID    batchID
	// Seen and Digest are the index of the last entry that the leader had applied
	// when it wrote this one, and its state machine's digest there.
	Seen, Digest uint64
	// Rules is the rules version that the commands were proposed under, from 1: see rules.go.
	Rules uint32
	// Flags are the entry's properties, see the flag constants. A program that does not know one
	// is older than the ledger, as with Rules.
	Flags    uint32
	Commands [][]byte
}

// Flags of an entry.
const (
	// flagClockSet: an operator set or confirmed the ledger's clock, so the stamp may be
	// earlier than the one before.
	flagClockSet = 1 << 0
	// flagClockStepped: the clock went forward, because most boards agree that it is later.
	// What cannot be undone waits for a while: see clockMarks.
	// With flagClockSet: an operator set it to another time, also back.
	flagClockStepped = 1 << 1
	// flagClockFar: it went so far forward that an operator must confirm it.
	flagClockFar = 1 << 2
	// flagClockOverride: the operator's time stands although most boards do not agree with it.
	flagClockOverride = 1 << 3

	knownFlags = flagClockSet | flagClockStepped | flagClockFar | flagClockOverride
)

// An entry's bytes: version, then Term, Stamp (Unix nanoseconds), Sender,
// Number, Seen, Digest as little-endian 64-bit numbers, in version 2 then Rules and Flags as
// 32-bit numbers, then the commands as in appendList.
const (
	entryHead  = 1 + 6*8
	entryHead2 = entryHead + 2*4
)

func (e *entry) encode() []byte {
	b := make([]byte, 0, entryHead2+listSize(e.Commands))
	isFirst := e.Rules <= firstRules && e.Flags == 0
	if isFirst {
		b = append(b, entryVersion1)
	} else {
		b = append(b, entryVersion2)
	}
	for _, v := range []uint64{e.Term, uint64(e.Stamp.UnixNano()), e.ID.Sender, e.ID.Number, e.Seen, e.Digest} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	if !isFirst {
		b = binary.LittleEndian.AppendUint32(b, max(e.Rules, firstRules))
		b = binary.LittleEndian.AppendUint32(b, e.Flags)
	}
	return appendList(b, e.Commands)
}

var errEntry = errors.New("not a ledger entry")

// decodeEntry is strict: it accepts the output of encode and nothing else. The commands
// point into b.
func decodeEntry(b []byte) (entry, error) {
	var e entry
	head := entryHead
	if len(b) > 0 && b[0] == entryVersion2 {
		head = entryHead2
	}
	if len(b) < head {
		return e, fmt.Errorf("%w: %d bytes", errEntry, len(b))
	}
	if b[0] != entryVersion1 && b[0] != entryVersion2 {
		return e, fmt.Errorf("%w: the entry has version %d, this program knows %d", errProgramTooOld, b[0], entryVersion2)
	}
	var v [6]uint64
	for i := range v {
		v[i] = binary.LittleEndian.Uint64(b[1+8*i:])
	}
	e.Term, e.Stamp, e.ID, e.Seen, e.Digest = v[0], time.Unix(0, int64(v[1])).UTC(), batchID{v[2], v[3]}, v[4], v[5]
	e.Rules = firstRules
	if head == entryHead2 {
		e.Rules, e.Flags = binary.LittleEndian.Uint32(b[entryHead:]), binary.LittleEndian.Uint32(b[entryHead+4:])
		if e.Rules < firstRules || (e.Rules == firstRules && e.Flags == 0) {
			return e, fmt.Errorf("%w: version 2 without need", errEntry)
		}
	}
	var err error
	e.Commands, err = readList(b[head:])
	if err != nil {
		return e, err
	}
	return e, checkBatch(e.Commands)
}

// countCommands returns the number of commands in an entry, 0 if it is none of the ledger's.
func countCommands(l *raft.Log) int {
	head := entryHead
	if len(l.Data) > 0 && l.Data[0] == entryVersion2 {
		head = entryHead2
	}
	if l.Type != raft.LogCommand || len(l.Data) < head {
		return 0
	}
	n, _ := binary.Uvarint(l.Data[head:])
	return int(min(n, maxBatchCommands))
}

// seenBy returns entry.Seen of a log entry, 0 if it is none of the ledger's.
func seenBy(l *raft.Log) uint64 {
	if l.Type != raft.LogCommand || len(l.Data) < entryHead {
		return 0
	}
	return binary.LittleEndian.Uint64(l.Data[1+4*8:])
}

func checkBatch(commands [][]byte) error {
	if len(commands) > maxBatchCommands {
		return fmt.Errorf("%w: %d commands in a batch", errEntry, len(commands))
	}
	n := 0
	for _, c := range commands {
		n += len(c)
	}
	if n > maxBatchBytes {
		return fmt.Errorf("%w: %d bytes in a batch", errEntry, n)
	}
	return nil
}

// A list of byte strings is their number, then each one's length and bytes;
// numbers are unsigned varints in their shortest form.
func appendList(b []byte, list [][]byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func listSize(list [][]byte) int {
	n := binary.MaxVarintLen64
	for _, s := range list {
		n += 3 + len(s)
	}
	return n
}

// readList reads a whole list and nothing more. The strings point into b.
func readList(b []byte) ([][]byte, error) {
	n, b, err := readUvarint(b)
	if err != nil {
		return nil, err
	}
	if n > uint64(len(b)) { // a string takes one byte at least
		return nil, fmt.Errorf("%w: a list of %d in %d bytes", errEntry, n, len(b))
	}
	list := make([][]byte, 0, n)
	for range n {
		var size uint64
		if size, b, err = readUvarint(b); err != nil {
			return nil, err
		}
		if size > uint64(len(b)) {
			return nil, fmt.Errorf("%w: a string of %d in %d bytes", errEntry, size, len(b))
		}
		list = append(list, b[:size:size])
		b = b[size:]
	}
	if len(b) != 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", errEntry, len(b))
	}
	return list, nil
}

func readUvarint(b []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 || (n > 1 && b[n-1] == 0) {
		return 0, nil, fmt.Errorf("%w: a bad number", errEntry)
	}
	return v, b[n:], nil
}
