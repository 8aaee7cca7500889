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
	if r.roundOf(own) >= 2 {
		first = r.newClient()
	}
	rack, err := first.Rack(ctx)
	if err == nil && r.old.Orders.Enabled {
		err = r.findBallots(ctx, first)
	}
	if err == nil {
		err = r.checkStolen(ctx, first, rack)
	}
	if err != nil {
		return err
	}
	r.boards = map[string]*client.Client{}
	for _, b := range rack.Boards {
		at := b.ConsoleURL
		switch {
		case b.State == "left" || b.Name == r.stolen && b.State == "dead":
		case b.Name == r.stolen || slices.Contains(b.Faults, "name-taken"):
			return fmt.Errorf("%s runs at %s with the stolen card, or beside another of its name: switch that off first", b.Name, b.ConsoleURL)
		case b.State == "dead":
			r.off = append(r.off, b.Name)
		case b.Self:
			r.boards[b.Name], at = first, cmp.Or(r.access.Socket, r.base) // what it says of itself was not asked
		default: // by TLS in any case: who listens there must prove it
			if r.boards[b.Name], err = first.At(strings.Replace(at, "http:", "https:", 1)); err != nil {
				return err
			}
		}
		if r.boards[b.Name] != nil {
			r.print(fmt.Sprintf("%s, at %s, up for %v", b.Name, at, time.Duration(b.Vitals.UptimeSeconds)*time.Second))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.boards)) {
		if err := r.advance(ctx, name, 0); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(r.foreign) > 0 {
		return fmt.Errorf("boards have accounts that %s has not, and that would stay: %s. Write them into that file with any password, or take them out of the board's bramble.toml and restart it", r.file, strings.Join(r.foreign, ", "))
	}
	return nil
}

// checkStolen returns an error if no board of the rack has the name of the stolen one.
func (r *rekeying) checkStolen(ctx context.Context, c *client.Client, rack console.RackView) error {
	var names []string
	for _, b := range rack.Boards {
		names = append(names, b.Name)
	}
	if r.stolen == "" || slices.Contains(names, r.stolen) {
		return nil
	}
	var members []ledger.BoardStatus // those that the rack has forgotten among them
	if err := c.Shop(ctx, http.MethodGet, "ledger/boards", nil, &members); err != nil && !errors.Is(err, console.ErrUnknownBoard) {
		return err
	}
	for _, b := range members {
		names = append(names, b.Board)
	}
	if slices.Sort(names); slices.Contains(names, r.stolen) {
		return nil
	}
	return usagef("--stolen: the rack has no board %q; it has %s", r.stolen, strings.Join(slices.Compact(names), ", "))
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
