// Package rollout updates a rack to a new version, one board after the other, while
// the others serve. Each board is drained, gets the version, starts it on trial, is
// checked, and only then commits to it. The first board that does not come back
// healthy stops the rollout; it falls back to its old version automatically. The steps on
// a board are behind an interface; this package decides their order.
package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// UpdateTarget is one board of a rack, as its console controls it.
type UpdateTarget interface {
	Name() string
	// State fetches the board's state; an error means that it does not answer.
	State(ctx context.Context) (State, error)
	Drain(ctx context.Context, undo bool) error
	// Send writes the version to the board's other slot, as far as it is not there yet.
	Send(ctx context.Context) error
	// StartTrial makes the board start the version on trial. It returns before the restart.
	StartTrial(ctx context.Context) error
	// Commit ends the trial: the board keeps the version.
	Commit(ctx context.Context) error
}

// State is a board's state, as the board reports it.
type State struct {
	Version        string // the one that runs
	Trial          bool   // the version is on trial
	Leading        bool   // the board leads the ledger
	Drained        bool   // it has no clients
	Ready          bool   // it serves, and its ledger has a majority
	NotReadyReason string // why it is not ready
}

// RollTimeouts limit the waits of a rollout.
type RollTimeouts struct {
	Drain        time.Duration // until a board has no clients; a client that comes later is disconnected by the restart
	Restart      time.Duration // from the start on trial until the board serves
	AllReady     time.Duration // until every board serves, before the next one is updated
	PollInterval time.Duration // between two polls of a board's state
}

// DefaultTimeouts suit first Pis: a start takes half a minute, and some minutes if it
// repairs the card. A board with several processors starts twice for a trial, and
// checks its card only the second time.
func DefaultTimeouts() RollTimeouts {
	return RollTimeouts{Drain: 2 * time.Minute, Restart: 6 * time.Minute, AllReady: 3 * time.Minute, PollInterval: time.Second}
}

// Kinds of error; match them with errors.Is.
var (
	ErrRackUnhealthy = errors.New("the rack is not healthy")     // the board is unchanged
	ErrRolledBack    = errors.New("the board rolled back")       // to its old version
	ErrNotReturned   = errors.New("the board has not come back") // in time
)

// ErrNoCard: a board does not run from a card with the image, so that it has no second slot.
var ErrNoCard = errors.New("this board does not run from a card with the image")

// errHasClients: a drained board still gets clients if its address stays one of the
// shop's, as with round-robin DNS.
var errHasClients = errors.New("the board still has clients")

// Roll is one rollout of a version over a rack.
type Roll struct {
	Version  string
	Boards   []UpdateTarget
	Timeouts RollTimeouts
	Logf     func(format string, args ...any)
	DryRun   bool // report the plan without changing anything
}

// Run updates the boards. Call it again after a failure: it skips boards that run the
// version already.
func (r *Roll) Run(ctx context.Context) error {
	todo, err := r.planBoards(ctx)
	if err != nil {
		return err
	}
	for i, b := range todo {
		if r.DryRun {
			r.Logf("%s would be updated to %s", b.Name(), r.Version)
			continue
		}
		if err := r.updateBoard(ctx, b); err != nil {
			rest := joinNames(todo[i:])
			return fmt.Errorf("%s: %w; the rest of the rack is unchanged (%s). Fix it, and run the same command again", b.Name(), err, rest)
		}
	}
	if len(todo) == 0 {
		r.Logf("every board runs %s already", r.Version)
	}
	return nil
}

func joinNames(boards []UpdateTarget) string {
	var all []string
	for _, b := range boards {
		all = append(all, b.Name())
	}
	return strings.Join(all, ", ")
}

// planBoards returns the boards that have not committed to the version, by name. The one
// that leads the ledger comes last, so that the leader changes only once.
func (r *Roll) planBoards(ctx context.Context) ([]UpdateTarget, error) {
	var todo, leaders []UpdateTarget
	byName := func(a, b UpdateTarget) int { return strings.Compare(a.Name(), b.Name()) }
	for _, b := range slices.SortedFunc(slices.Values(r.Boards), byName) {
		s, err := b.State(ctx)
		switch {
		case errors.Is(err, ErrNoCard):
			return nil, fmt.Errorf("%s cannot be updated over the network: %w: replace its program by hand", b.Name(), err)
		case err != nil:
			return nil, fmt.Errorf("%w: %s: %w", ErrRackUnhealthy, b.Name(), err)
		}
		if s.Version == r.Version && !s.Trial {
			r.Logf("%s runs %s", b.Name(), s.Version)
			continue
		}
		if s.Trial && s.Version != r.Version {
			return nil, fmt.Errorf("%w: %s has %s on trial: finish that update with its image, or wait until the board has rolled back", ErrRackUnhealthy, b.Name(), s.Version)
		}
		if s.Leading {
			leaders = append(leaders, b)
		} else {
			todo = append(todo, b)
		}
	}
	return append(todo, leaders...), nil
}

func (r *Roll) updateBoard(ctx context.Context, b UpdateTarget) error {
	var s State
	err := r.pollUntil(ctx, r.Timeouts.AllReady, ErrRackUnhealthy, func() (_ bool, err error) { // a busy board may miss one poll
		s, err = b.State(ctx)
		return err == nil, err
	})
	if err != nil {
		return err
	}
	if s.Version != r.Version { // if equal, an earlier rollout stopped before it could commit
		if err := r.awaitRackReady(ctx, b.Name()); err != nil {
			return err
		}
		if err := r.startTrial(ctx, b); err != nil {
			return err
		}
	}
	if err := r.awaitTrialReady(ctx, b); err != nil {
		return err
	}
	if err := b.Commit(ctx); err != nil {
		return fmt.Errorf("it runs %s on trial, but the commit failed: %w", r.Version, err)
	}
	r.Logf("%s runs %s", b.Name(), r.Version)
	return nil
}

// startTrial drains a board and starts the version on it. If that fails, it puts the
// board back into service.
func (r *Roll) startTrial(ctx context.Context, b UpdateTarget) error {
	r.Logf("%s: taking it out of service", b.Name())
	err := b.Drain(ctx, false)
	if err == nil {
		answers := false
		err = r.pollUntil(ctx, r.Timeouts.Drain, errHasClients, func() (bool, error) {
			s, err := b.State(ctx)
			answers = err == nil
			return answers && s.Drained, err
		})
		if answers && errors.Is(err, errHasClients) {
			r.Logf("%s: it still has clients; replies in progress will end, and new clients find another board", b.Name())
			err = nil
		}
	}
	if err == nil {
		r.Logf("%s: sending %s", b.Name(), r.Version)
		err = b.Send(ctx)
	}
	if err == nil {
		r.Logf("%s: restarting", b.Name())
		err = b.StartTrial(ctx)
	}
	if err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.Timeouts.Drain)
		defer cancel()
		if undoErr := b.Drain(undo, true); undoErr != nil {
			err = errors.Join(err, fmt.Errorf("putting it back into service: %w", undoErr))
		}
	}
	return err
}

// awaitTrialReady waits until a board serves with the version.
func (r *Roll) awaitTrialReady(ctx context.Context, b UpdateTarget) error {
	return r.pollUntil(ctx, r.Timeouts.Restart, ErrNotReturned, func() (bool, error) {
		s, err := b.State(ctx)
		switch {
		case err != nil:
			return false, err
		case s.Version == r.Version && s.Ready:
			return true, nil
		case s.Version == r.Version:
			return false, errors.New(s.NotReadyReason)
		case !s.Drained: // the old version has started again; before the restart it is drained
			return true, fmt.Errorf("%w: it runs %s again", ErrRolledBack, s.Version)
		}
		return false, errors.New("it is restarting")
	})
}

// awaitRackReady waits until every board serves, so that no two are ever missing.
func (r *Roll) awaitRackReady(ctx context.Context, next string) error {
	return r.pollUntil(ctx, r.Timeouts.AllReady, ErrRackUnhealthy, func() (bool, error) {
		for _, b := range r.Boards {
			s, err := b.State(ctx)
			if err != nil {
				return false, fmt.Errorf("%s: %w", b.Name(), err)
			}
			// The next board may be drained, if an earlier rollout stopped there.
			if !s.Ready && !(b.Name() == next && s.Drained) {
				return false, fmt.Errorf("%s: %s", b.Name(), s.NotReadyReason)
			}
		}
		return true, nil
	})
}

// pollUntil calls poll until it is done, and returns its error. After limit it returns
// kind with the error of the last poll.
func (r *Roll) pollUntil(ctx context.Context, limit time.Duration, kind error, poll func() (done bool, err error)) error {
	end := time.Now().Add(limit)
	tick := time.Tick(r.Timeouts.PollInterval)
	for {
		done, err := poll()
		if done {
			return err
		}
		if time.Now().After(end) {
			if err == nil {
				return fmt.Errorf("%w within %v", kind, limit)
			}
			return fmt.Errorf("%w within %v: %w", kind, limit, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick:
		}
	}
}
