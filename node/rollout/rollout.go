// Package rollout takes a new version over a rack, one board after the other,
// while the others serve: each is drained, given the version, started into it
// on trial, looked at, and only then told to stay with it. The first that does
// not come back well stops the roll; it goes back to its old version by itself.
// What is done to a board is behind an interface; this package is the order.
package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// UpdateTarget is one board of a rack, by its console.
type UpdateTarget interface {
	Name() string
	// State asks the board; an error means that it does not answer.
	State(ctx context.Context) (State, error)
	Drain(ctx context.Context, undo bool) error
	// Send gives the board's other slot the version, as far as it is not there.
	Send(ctx context.Context) error
	// StartTrial has the board start the version on trial. The answer comes before that.
	StartTrial(ctx context.Context) error
	// Commit has the board stay with the version that is on trial.
	Commit(ctx context.Context) error
}

// State is what a board says of itself.
type State struct {
	Version        string // that it runs
	Trial          bool   // on trial
	Leading        bool   // it leads the ledger
	Drained        bool   // no client is on it
	Ready          bool   // it serves, and its ledger has a majority
	NotReadyReason string // why it is not ready
}

// RollTimeouts bound the waits of a roll.
type RollTimeouts struct {
	Drain        time.Duration // until no client is on a board; who comes after that is sent away when it restarts
	Restart      time.Duration // from the start on trial until the board serves
	AllReady     time.Duration // until every board serves, before the next is taken
	PollInterval time.Duration // between two looks
}

// DefaultTimeouts are for first Pis: a start takes half a minute, with a repair of
// the card some minutes. A board of several processors starts once more for a
// trial, and looks after its card only the second time.
func DefaultTimeouts() RollTimeouts {
	return RollTimeouts{Drain: 2 * time.Minute, Restart: 6 * time.Minute, AllReady: 3 * time.Minute, PollInterval: time.Second}
}

// Kinds of error; match them with errors.Is.
var (
	ErrRackUnhealthy = errors.New("the rack is not well")        // nothing was changed by then
	ErrRolledBack    = errors.New("the board went back")         // to its old version
	ErrNotReturned   = errors.New("the board has not come back") // in time
)

// errHasClients: clients come to a drained board for as long as its address is one of
// the shop's, as it is where names are resolved in turn.
var errHasClients = errors.New("clients still come")

// Roll is one roll of a version over a rack.
type Roll struct {
	Version  string
	Boards   []UpdateTarget
	Timeouts RollTimeouts
	Logf     func(format string, args ...any)
	DryRun   bool // only say what would be done
}

// Run rolls. It may be called again after it failed: boards that are on the
// version are left alone.
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
			left := joinNames(todo[i:])
			return fmt.Errorf("%s: %w; the rest of the rack is as it was (%s). When that is mended, run the same command again", b.Name(), err, left)
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

// planBoards lists the boards that are not on the version for good, by name, the one
// that leads the ledger last, so that the lead changes once.
func (r *Roll) planBoards(ctx context.Context) ([]UpdateTarget, error) {
	type planned struct {
		UpdateTarget
		last bool
	}
	var todo []planned
	for _, b := range r.Boards {
		s, err := b.State(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrRackUnhealthy, b.Name(), err)
		}
		if s.Version == r.Version && !s.Trial {
			r.Logf("%s runs %s", b.Name(), s.Version)
			continue
		}
		if s.Trial && s.Version != r.Version {
			return nil, fmt.Errorf("%w: %s has %s on trial: finish that update with its image, or wait until the board has gone back", ErrRackUnhealthy, b.Name(), s.Version)
		}
		todo = append(todo, planned{b, s.Leading})
	}
	slices.SortStableFunc(todo, func(a, b planned) int {
		switch {
		case a.last == b.last:
			return strings.Compare(a.Name(), b.Name())
		case a.last:
			return 1
		}
		return -1
	})
	boards := make([]UpdateTarget, len(todo))
	for i := range todo {
		boards[i] = todo[i].UpdateTarget
	}
	return boards, nil
}

// updateBoard takes one board over.
func (r *Roll) updateBoard(ctx context.Context, b UpdateTarget) error {
	s, err := b.State(ctx)
	if err != nil {
		return err
	}
	if s.Version != r.Version { // else an earlier roll broke off before it could commit
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
		return fmt.Errorf("it runs %s and could not be told to stay with it: %w", r.Version, err)
	}
	r.Logf("%s runs %s", b.Name(), r.Version)
	return nil
}

// startTrial drains a board and starts the version on it. If that cannot be, the
// board is put back into service.
func (r *Roll) startTrial(ctx context.Context, b UpdateTarget) error {
	r.Logf("%s is taken out of service", b.Name())
	err := b.Drain(ctx, false)
	if err == nil {
		answers := false
		err = r.pollUntil(ctx, r.Timeouts.Drain, errHasClients, func() (bool, error) {
			s, err := b.State(ctx)
			answers = err == nil
			return answers && s.Drained, err
		})
		if answers && errors.Is(err, errHasClients) {
			r.Logf("%s has clients still: replies under way will end, and who comes then finds another board", b.Name())
			err = nil
		}
	}
	if err == nil {
		r.Logf("%s is given %s", b.Name(), r.Version)
		err = b.Send(ctx)
	}
	if err == nil {
		r.Logf("%s restarts", b.Name())
		err = b.StartTrial(ctx)
	}
	if err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.Timeouts.Drain)
		defer cancel()
		if back := b.Drain(undo, true); back != nil {
			err = errors.Join(err, fmt.Errorf("putting it back into service: %w", back))
		}
	}
	return err
}

// awaitTrialReady waits until a board serves in the version.
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
		case !s.Drained: // not the old program on its way out, but a new start of it
			return true, fmt.Errorf("%w: it runs %s again", ErrRolledBack, s.Version)
		}
		return false, errors.New("it is on its way")
	})
}

// awaitRackReady waits until every board serves, so that never two are missing.
func (r *Roll) awaitRackReady(ctx context.Context, next string) error {
	return r.pollUntil(ctx, r.Timeouts.AllReady, ErrRackUnhealthy, func() (bool, error) {
		for _, b := range r.Boards {
			s, err := b.State(ctx)
			if err != nil {
				return false, fmt.Errorf("%s: %w", b.Name(), err)
			}
			// One that an earlier roll has left drained is about to be taken.
			if !s.Ready && !(b.Name() == next && s.Drained) {
				return false, fmt.Errorf("%s: %s", b.Name(), s.NotReadyReason)
			}
		}
		return true, nil
	})
}

// pollUntil looks until done, for at most limit. When done comes with an error it
// is that; when time is up it is kind with what the last look said.
func (r *Roll) pollUntil(ctx context.Context, limit time.Duration, kind error, look func() (done bool, err error)) error {
	end := time.Now().Add(limit)
	tick := time.NewTicker(r.Timeouts.PollInterval)
	defer tick.Stop()
	for {
		done, err := look()
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
		case <-tick.C:
		}
	}
}
