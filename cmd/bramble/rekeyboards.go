package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"bramble/cluster/ledger"
	"bramble/node/console"
	"bramble/node/console/client"
	"bramble/node/orders/draw"
	"bramble/node/orderservice"
)

const (
	censusWait = 30 * time.Second // for boards that have just started to find each other
	censusPoll = 500 * time.Millisecond
	planBoards = "\n# boards: " // begins the end of the plan: what is known of the boards, as JSON by name
)

// knownBoard is a board of the rack, by what all lists and the board itself say.
type knownBoard struct {
	Console  string         // URL; "": no list has it
	client   *client.Client // with its present password
	up       time.Duration
	runs     bool  // a list has it as alive
	isTaken  bool  // another board has its name
	isClosed bool  // its console has another password, and shows no list
	round    int   // the last one that it has been through
	why      error // it does not answer
}

// checkCensus returns an error unless each known board has been through a round or is off, and they are as many as planned.
// Time can help if mayPass.
func checkCensus(known map[string]*knownBoard, off []string, expected, round int) (mayPass bool, err error) {
	var missing []string
	names := slices.Sorted(maps.Keys(known))
	for _, name := range names {
		switch b, isOff := known[name], slices.Contains(off, name); {
		case b.isTaken || isOff && (b.runs || b.why == nil):
			return b.why != nil, fmt.Errorf("%s runs at %s though --stolen or --off names it, or beside another of its name: switch that off first, and give the rack ten seconds to notice", name, b.Console)
		case isOff:
		case errors.Is(b.why, client.ErrRefused):
			return false, b.why
		case b.why != nil:
			missing = append(missing, fmt.Sprintf("%s (%v)", name, b.why))
		case b.round < round:
			missing = append(missing, name+" (it came while the secrets changed: is it yours?)")
		}
	}
	unknown := slices.DeleteFunc(slices.Clone(off), func(name string) bool { return known[name] != nil })
	switch {
	case len(missing) > 0:
		return true, fmt.Errorf("not all boards of the rack take part: %s. Start them and run the command again; add --off BOARD for each that stays off until its card has the new bramble.toml", strings.Join(missing, ", "))
	case len(names)+len(unknown) < expected:
		return true, fmt.Errorf("the rack has %d boards, and only %s are found: start the others and run the command again, or set [rack] expected_boards in your bramble.toml to the number that you have", expected, strings.Join(names, ", "))
	case len(unknown) > 0 && len(names)+len(unknown) > expected: // else the rack has forgotten them
		return false, usagef("--stolen, --off: the rack has no board %q; it has %s", unknown[0], strings.Join(names, ", "))
	}
	return false, nil
}

// checkRack asks all boards, for censusWait at most, until checkCensus has no objection. A board that has been known stays known.
func (r *rekeying) checkRack(ctx context.Context, round int) error {
	deadline, poll := time.Now().Add(censusWait), time.Tick(censusPoll)
	for n := 1; ; n++ {
		for _, b := range r.known {
			b.runs, b.isTaken = false, false
		}
		for _, name := range slices.Sorted(maps.Keys(r.known)) {
			r.known[name].why = r.askBoard(ctx, name)
		}
		mayPass, err := checkCensus(r.known, r.off, r.old.Rack.ExpectedBoards, round)
		if err == nil || !mayPass || time.Now().After(deadline) {
			return err
		}
		if n == 3 { // the first one finds the others
			r.print(fmt.Sprintf("Waiting for boards, %v at most.", censusWait))
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-poll:
		}
	}
}

// askBoard asks a board which round it has been through, and which boards it knows.
func (r *rekeying) askBoard(ctx context.Context, name string) (err error) {
	b, access := r.known[name], r.access
	if password := secretOf(r.next.Console, r.account); b.round >= 2 && password != "" {
		access.Secret, access.Device = password, ""
	}
	if b.client, err = client.New(r.base, access); err == nil && name != r.first { // by TLS in any case: who listens there must prove it
		if b.Console == "" {
			return errors.New("no board knows its address")
		}
		b.client, err = b.client.At(strings.Replace(b.Console, "http:", "https:", 1))
	}
	var s secretsState
	if err == nil {
		err = b.client.Secrets(ctx, http.MethodGet, nil, &s)
	}
	switch was := b.round; {
	case errors.Is(err, console.ErrUnknownBoard):
		return fmt.Errorf("its program knows nothing of this: update it first: %w", err)
	case errors.Is(err, client.ErrUnreachable):
		return errors.New("no answer at " + b.Console)
	case err != nil:
		return err
	case s.Board != name:
		return fmt.Errorf("at its address is %s", s.Board)
	default:
		if b.round = r.roundOf(s); was < 2 && b.round >= 2 {
			return r.askBoard(ctx, name) // with its new password
		}
	}
	b.why = nil
	var rack console.RackView
	var members []ledger.BoardStatus // those that the rack has forgotten among them
	if !b.isClosed {
		if rack, err = b.client.Rack(ctx); err == nil {
			err = b.client.Shop(ctx, http.MethodGet, "ledger/boards", nil, &members)
			if errors.Is(err, console.ErrUnknownBoard) || name != r.first { // the rack is in front of another shop; a board's card fails
				err = nil
			}
		}
		b.isClosed = errors.Is(err, client.ErrRefused) && name != r.first
	}
	if err != nil && !b.isClosed {
		return err
	}
	for _, m := range members {
		r.note(m.Board)
	}
	for _, v := range rack.Boards {
		k := r.note(v.Name)
		if k.why != nil || k.Console == "" {
			k.Console = v.ConsoleURL
		}
		k.up = time.Duration(v.Vitals.UptimeSeconds) * time.Second
		k.runs = k.runs || v.State != "dead" && v.State != "left"
		k.isTaken = k.isTaken || slices.Contains(v.Faults, "name-taken")
	}
	return nil
}

// note returns what is known of a board, which is known from now on.
func (r *rekeying) note(name string) *knownBoard {
	if r.known[name] == nil {
		r.known[name] = &knownBoard{why: errors.New("not asked yet")}
	}
	return r.known[name]
}

func (r *rekeying) findBoards(ctx context.Context, f consoleFlags) (err error) {
	if r.base, r.access, err = f.choose(r.w); err == nil {
		r.access.Rack, err = poolOf(append(slices.Clone(r.old.Rack.OldKeys), r.old.Rack.Key, r.next.Rack.Key))
	}
	if err != nil {
		return err
	}
	if r.access.Socket == "" && r.access.Secret == "" && secretOf(r.old.Console, r.account) == "" {
		return fmt.Errorf("%s has no console password, and without one boards obey no other machine: do it by hand, with --out (images/README.md), and set password under [console] in the new file to the line of \"bramble console password\"", r.file)
	}
	first, err := client.New(r.base, r.access)
	if err == nil {
		err = first.RequireProof()
	}
	if err != nil {
		return usagef("--console: %v", err)
	}
	var own secretsState
	if err = first.Secrets(ctx, http.MethodGet, nil, &own); err != nil {
		return err
	}
	r.first = own.Board
	r.note(r.first)
	if err = r.checkRack(ctx, 0); err == nil && r.old.Orders.Enabled {
		err = r.findBallots(ctx, r.known[r.first].client)
	}
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(r.known)) {
		if b := r.known[name]; !slices.Contains(r.off, name) {
			r.boards = append(r.boards, name)
			at := b.Console
			if name == r.first { // what it says of itself was not asked
				at = cmp.Or(r.access.Socket, r.base)
			}
			r.print(fmt.Sprintf("%s, at %s, up for %v", name, at, b.up))
		}
	}
	for _, name := range r.boards {
		if err := r.advance(ctx, name, 0); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(r.foreign) > 0 {
		return fmt.Errorf("boards have accounts that %s has not, and that would stay: %s. Write them into that file with any password, or take them out of the board's bramble.toml and restart it", r.file, strings.Join(r.foreign, ", "))
	}
	return nil
}

// findBallots looks for ballots whose draw follows only from a secret that the stolen card has.
func (r *rekeying) findBallots(ctx context.Context, c *client.Client) error {
	var sales []orderservice.SaleJSON
	err := c.Shop(ctx, http.MethodGet, "sales?stale=1", nil, &sales)
	for _, s := range sales {
		if s.Draw != nil && s.Draw.State != orderservice.Drawn && s.Draw.Promised.Kind == draw.None {
			r.ballots = append(r.ballots, s.Product)
		}
	}
	if errors.Is(err, console.ErrUnknownBoard) { // 404: the rack is in front of another shop
		return nil
	}
	return err
}

// compare notes what a board has and the owner's file has not.
func (r *rekeying) compare(board string, has ownSecrets) {
	for _, account := range has.Accounts {
		if _, ok := passwordsOf(r.old)[account]; !ok {
			r.foreign = append(r.foreign, cmp.Or(account, console.UserName)+" on "+board)
		}
	}
	for _, name := range has.Others {
		if !slices.Contains(r.yours, name) {
			r.yours = append(r.yours, name+" on "+board)
		}
	}
}
