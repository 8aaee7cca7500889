package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"
)

// StateMachine applies the ledger's commands: the same commands in the same order
// on every board. The ledger calls it from one goroutine at a time; it must guard
// its state against its own readers itself.
type StateMachine interface {
	// Apply applies one committed batch, and returns exactly one reply per
	// command. The result depends on the state and the batch alone. An error
	// means that the state machine cannot go on: the ledger halts (ErrHalted)
	// and logs it. It calls Apply again only if the error is ErrRetryLater.
	// Apply must not retain the commands.
	Apply(b Batch) (replies [][]byte, err error)
	// MaxRules returns the highest rules version that Apply knows, from 1. It
	// must know all lower ones too, for ever: old logs are applied again.
	MaxRules() uint32
	// Snapshot returns the state as it is now; later calls of Apply do not
	// change it. The ledger writes it in another goroutine while Apply goes on,
	// and closes it once.
	Snapshot() (StateSnapshot, error)
	// Restore replaces the state by a written snapshot, the digest included.
	// The ledger has checked the CRC of the bytes.
	Restore(r io.Reader) error
	// Digest returns a hash over all replies so far. It must be cheap, so it is
	// a running hash, and part of a snapshot. Two boards whose digests differ
	// at the same index have diverged: the one that differs from the leader halts.
	Digest() uint64
}

// Batch is one committed batch of at least one command.
type Batch struct {
	Index uint64 // of its log entry; it grows with every batch
	// At is the ledger's clock, UTC. It goes back only if an operator set the clock back.
	At time.Time
	// Rules is the version of the rules by which the commands must be carried out, from 1
	// to MaxRules. It never falls from one batch to the next.
	Rules    uint32
	Commands [][]byte
}

// StateSnapshot is the state of a StateMachine at one index.
type StateSnapshot = interface {
	io.WriterTo
	io.Closer
}

// Transport reaches the ledgers of the other boards. Both methods are safe for
// concurrent use.
type Transport interface {
	// Stream opens a raw two-way connection to a board's ledger. The other board
	// passes it to Ledger.Accept.
	Stream(ctx context.Context, board string) (net.Conn, error)
	// Call sends a small request (at most MaxCallBytes) to another board's
	// ledger and returns the result of its HandleCall. An error that wraps
	// ErrNotSent means that the request never reached the other board;
	// any other error leaves that open.
	Call(ctx context.Context, board, kind string, body []byte) ([]byte, error)
}

// Config sets up a board's ledger.
type Config struct {
	// Name is this board's name, as the others know it. If it differs from the name of the
	// last start, the board was renamed, and stays the server that it was.
	Name string
	// Dir is the ledger's directory; nothing else writes there. Open creates it.
	Dir string
	// Boards is the planned number of boards of the rack: its ledger is founded
	// when all of them are reachable, or when more than half of them are and an
	// operator has allowed it (see Found). It has no effect afterwards. A
	// number that is too small can lead to two ledgers (see ErrTwoLedgers).
	Boards int
	// Marker is the path of a file outside Dir in which the board notes its ledger. If Dir is
	// empty and the file is not, the board has lost its files: it founds no ledger. "" for none.
	Marker string
	// LostFiles is why the board may have lost its files, for example because its file system was
	// made again; "" if nothing shows that. It has no effect while there are files.
	LostFiles    string
	StateMachine StateMachine
	Transport    Transport
	// Live returns the names of the boards that seem alive, this one included.
	Live   func() []string
	Logger *slog.Logger
	// Timing is DefaultTiming() if zero.
	Timing RaftTiming
	// Clock is this board's own clock; nil means time.Now.
	Clock func() time.Time
	// ClockState returns what this board knows of its own clock; nil: nothing, so that it
	// counts as set.
	ClockState func() ClockState
	// SlowSync delays every sync of the log, to simulate a slow card on a fast
	// machine. It is 0 on a real board.
	SlowSync time.Duration
	// OnApplied is called after every batch with the index that was applied. It
	// runs in the goroutine that applies, so it must return at once. May be nil.
	OnApplied func(index uint64)
	// Describe returns what the state machine holds, for an operator, such as "12 orders". May be nil.
	Describe func() string
}

func (c *Config) checkAndSetDefaults() error {
	switch {
	case c.Name == "" || len(c.Name) > maxName:
		return fmt.Errorf("ledger: a board's name has 1 to %d bytes, not %d", maxName, len(c.Name))
	case c.Dir == "":
		return errors.New("ledger: no directory given")
	case c.Boards < 1 || c.Boards > maxBoards:
		return fmt.Errorf("ledger: the planned number of boards must be 1 to %d, not %d", maxBoards, c.Boards)
	case c.StateMachine == nil || c.Transport == nil || c.Live == nil:
		return errors.New("ledger: StateMachine, Transport and Live must be set")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.ClockState == nil {
		c.ClockState = func() ClockState { return ClockState{Set: true} }
	}
	if c.Timing == (RaftTiming{}) {
		c.Timing = DefaultTiming()
	}
	return c.Timing.validate()
}

// Limits.
const (
	maxName     = 64 // bytes of a board's name
	maxServerID = maxName + 9
	maxBoards   = 512 // boards of a rack
	// MaxCommand limits one command, in bytes.
	MaxCommand = 64 << 10
	// MaxCallBytes limits the body of a Call and of its response, in bytes: a full
	// batch of commands, or its replies, and their framing.
	MaxCallBytes = 1 << 20
)

// Kinds of error. Match them with errors.Is; the text has details. Each defines whether a
// submitted command was committed. "Not committed" means that it never will be, so it
// can be submitted again.
var (
	// ErrNotFounded: the rack has no ledger yet; the text has the number of boards that it
	// waits for. The command was not committed.
	ErrNotFounded = errors.New("the ledger is not founded yet")
	// ErrNoMajority: no leader could be reached in time, usually because this board
	// cannot reach a majority of the voters. The command was not committed.
	ErrNoMajority = errors.New("cannot reach a majority of the ledger's voters")
	// ErrUncertain: the command was in flight when the time ran out. It may be
	// committed already, be committed later, or never.
	ErrUncertain = errors.New("it is not known whether the command was committed")
	// ErrBusy: this board's queue is full. Not committed.
	ErrBusy = errors.New("too many commands are waiting")
	// ErrHalted: the state machine cannot go on, or differs from the others'. A
	// person must look at it. Not committed, unless the error is ErrUncertain too:
	// then it may be this command that the state machine could not apply.
	ErrHalted = errors.New("the ledger has halted")
	// ErrRetryLater is returned by a StateMachine that cannot apply the batch at
	// the moment, for example because its disk is full, and has changed nothing. The
	// ledger counts as halted and passes it the batch again every few seconds.
	ErrRetryLater = errors.New("the state machine cannot go on at the moment")
	// ErrTooLarge: the command exceeds MaxCommand. Not committed.
	ErrTooLarge = errors.New("the command is too large")
	// ErrDamaged: files are damaged and no board has a copy to recover from.
	ErrDamaged = errors.New("the ledger's files are damaged")
	// ErrTwoLedgers: boards of this rack belong to two ledgers, because they
	// were founded apart, or one was recovered. Neither accepts commands until an operator
	// chooses one (see Choose). Not committed.
	ErrTwoLedgers = errors.New("the rack has two ledgers")
	// ErrStopped: Run has not begun, or has ended. Not committed.
	ErrStopped = errors.New("the ledger is stopped")
	// ErrInUse: another process has the ledger's directory open.
	ErrInUse = errors.New("the ledger's directory is in use")
	// ErrRefused: an operator's command does not suit the state of the ledger.
	ErrRefused = errors.New("refused")
	// ErrRestart: Run has ended because this board must open its files again: call Open
	// and Run again, with an empty state machine.
	ErrRestart = errors.New("the ledger's files must be opened again")
	// A Transport wraps ErrNotSent if the request never reached the other board.
	ErrNotSent = errors.New("not sent")
)
