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

// StateMachine is what the ledger's commands are carried out by: the same commands
// in the same order on every board. The ledger calls it from one goroutine at
// a time; what the machine shows to readers meanwhile is its own affair.
type StateMachine interface {
	// Apply carries out one committed batch of at least one command and
	// returns exactly one reply for each. index grows by every call; at is
	// the ledger's clock, UTC, which never goes back. What the result depends
	// on is the state and these arguments, nothing else. An error means that
	// the machine refuses to go on: the ledger halts (ErrHalted) and says so.
	// It is retried only if the error is ErrAgain. The slices of commands must not be kept.
	Apply(index uint64, at time.Time, commands [][]byte) (replies [][]byte, err error)
	// Snapshot is a view of the state that later Applys do not change. It is
	// written in another goroutine while Apply goes on, and closed once.
	Snapshot() (StateSnapshot, error)
	// Restore replaces the state by what a Snapshot wrote, the digest
	// included. The bytes have been checked against their CRC.
	Restore(r io.Reader) error
	// Digest is a hash over all replies so far (cheap, kept running, part of
	// a snapshot): two boards whose digests differ at the same index have
	// diverged, and the one that differs from the leader halts.
	Digest() uint64
}

// StateSnapshot is one unchanging state of a Machine.
type StateSnapshot = interface {
	io.WriterTo
	io.Closer
}

// Transport reaches the other boards' ledgers. Both methods may be called at any
// time from any number of goroutines.
type Transport interface {
	// Stream opens a raw two-way connection to a board's ledger; over there it
	// is given to Accept.
	Stream(ctx context.Context, board string) (net.Conn, error)
	// Call sends a small request (at most MaxAsk bytes) to another board's
	// ledger and returns what its Answer returned. kind is one of Kinds. An
	// error that wraps ErrNotSent says that the request surely never reached
	// the other board; any other error leaves that open.
	Call(ctx context.Context, board, kind string, body []byte) ([]byte, error)
}

// Config sets up a board's ledger.
type Config struct {
	// Name is this board's, as the others know it. It must keep it.
	Name string
	// Dir is the ledger's folder, which nothing else writes to. It is made.
	Dir string
	// Boards is how many boards the rack is planned to have: it is founded
	// when more than half of them are there. It means nothing afterwards. A
	// number that is too small could found two ledgers (see ErrTwoLedgers).
	Boards       int
	StateMachine StateMachine
	Transport    Transport
	// Live names the boards that seem to be there now, this one included.
	Live   func() []string
	Logger *slog.Logger
	// Timing is DefaultTiming() if zero.
	Timing RaftTiming
	// Clock is this board's own clock; nil means time.Now.
	Clock func() time.Time
	// SlowSync makes every sync of the log take this much longer, to rehearse
	// a slow card on a fast machine. 0 on a real board.
	SlowSync time.Duration
	// OnApplied is told after every batch which index has been carried out.
	// It is called from the goroutine that applies: it must return at once.
	// May be nil.
	OnApplied func(index uint64)
}

func (c *Config) checkAndSetDefaults() error {
	switch {
	case c.Name == "" || len(c.Name) > maxName:
		return fmt.Errorf("ledger: a board's name has 1 to %d bytes, not %d", maxName, len(c.Name))
	case c.Dir == "":
		return errors.New("ledger: no folder given")
	case c.Boards < 1 || c.Boards > maxBoards:
		return fmt.Errorf("ledger: the planned number of boards must be 1 to %d, not %d", maxBoards, c.Boards)
	case c.StateMachine == nil || c.Transport == nil || c.Live == nil:
		return errors.New("ledger: machine, link and live boards must be given")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Timing == (RaftTiming{}) {
		c.Timing = DefaultTiming()
	}
	return c.Timing.validate()
}

// Bounds.
const (
	maxName   = 64  // bytes of a board's name
	maxBoards = 512 // boards of a rack
	// MaxCommand is the size of one command, in bytes.
	MaxCommand = 64 << 10
	// MaxCallBytes bounds the body of an Ask and of its answer, in bytes: a full
	// batch of commands, or the replies to one, and what frames them.
	MaxCallBytes = 1 << 20
)

// Kinds of error. Match with errors.Is; the text says more. For a command
// given to Submit each says whether it was taken.
var (
	// ErrNotFounded: the rack has no ledger yet, the text says how many boards
	// it waits for. The command was definitely not taken.
	ErrNotFounded = errors.New("the ledger is not founded yet")
	// ErrNoMajority: no leader could be reached in the time given. The command
	// was definitely not taken.
	ErrNoMajority = errors.New("no majority of the ledger's voters can be reached")
	// ErrUncertain: the command was on its way when the time ran out: it may
	// or may not have been, or yet be, carried out.
	ErrUncertain = errors.New("it is not known whether the command was taken")
	// ErrBusy: this board's queue is full. Definitely not taken.
	ErrBusy = errors.New("too many commands are waiting")
	// ErrHalted: the machine refused to go on, or differs from the others'.
	// A person has to look. Definitely not taken, unless the error is
	// ErrUncertain too: then it may be this command that the machine refused.
	ErrHalted = errors.New("the ledger has halted")
	// ErrRetryLater is a Machine's: it could not carry the batch out just now, as
	// when its disk is full, and nothing has changed. The ledger stands halted
	// and gives it the batch again every few seconds.
	ErrRetryLater = errors.New("the machine cannot go on just now")
	// ErrTooLarge: the command exceeds MaxCommand. Definitely not taken.
	ErrTooLarge = errors.New("the command is too large")
	// ErrDamaged: files are damaged and there is no board to repair them from.
	ErrDamaged = errors.New("the ledger's files are damaged")
	// ErrTwoLedgers: boards of this rack belong to two ledgers, since they
	// were founded apart with too small a number of planned boards. Neither
	// takes commands. Definitely not taken.
	ErrTwoLedgers = errors.New("the rack has two ledgers")
	// ErrStopped: Run has ended, or not begun. Definitely not taken.
	ErrStopped = errors.New("the ledger is stopped")
	// ErrNotSent is for a Link to wrap: the request surely did not arrive.
	ErrNotSent = errors.New("not sent")
)
