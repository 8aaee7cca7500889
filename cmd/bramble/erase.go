package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"bramble/node/console/client"
	"bramble/node/orderservice"
)

// erasePerson erases the orders of a reference or an e-mail address, in as many
// requests as it takes.
func erasePerson(ctx context.Context, w world, c *client.Client, o orderservice.OperatorCommand, whom string) error {
	if strings.Contains(whom, "@") {
		o.Email = whom
	} else {
		o.Reference = whom
	}
	var before, after []orderservice.SaleJSON
	if err := c.Shop(ctx, http.MethodGet, "sales", nil, &before); err != nil {
		return err
	}
	total := 0
	for {
		var done orderservice.OperatorResult
		o.OpID = orderservice.NewOpID()
		if err := c.Shop(ctx, http.MethodPost, "commands", o, &done); err != nil {
			return err
		}
		total += done.Count
		if done.Remaining > 0 && done.Count == 0 {
			if done.Waits != "" {
				return fmt.Errorf("erased %s; %d more in a ballot whose draw waits: %s. Run this again after the draw", pluralize(total, "order", "orders"), done.Remaining, done.Waits)
			}
			return fmt.Errorf("erased %s; %d more in a ballot that is being drawn: run this again after the draw", pluralize(total, "order", "orders"), done.Remaining)
		}
		if done.Remaining == 0 && total == 0 {
			fmt.Fprintln(w.out, "Erased nothing: "+map[bool]string{true: "no order has this address.", false: "this order has no personal data any more."}[o.Email != ""])
			fmt.Fprint(w.out, scrubText)
			return nil
		}
		if done.Remaining == 0 {
			fmt.Fprintf(w.out, "Erased %s.\n"+scrubText, pluralize(total, "order", "orders"))
			err := c.Shop(ctx, http.MethodGet, "sales", nil, &after)
			writeChangedSales(w.out, before, after)
			return err
		}
	}
}

const (
	scrubText       = "Each board now rewrites its files, which also have forms that were refused.\n"
	erasureLimit    = 2 * time.Minute // of the wait for that; a board does it at most once a minute
	erasureInterval = time.Second
)

// awaitErasure waits until every board that answers has rewritten its files, and names the others.
func awaitErasure(ctx context.Context, w world, c *client.Client) error {
	for began := time.Now(); ; {
		var e orderservice.ErasureJSON
		if err := c.Shop(ctx, http.MethodGet, "erasure", nil, &e); err != nil {
			return err
		}
		var done, late, absent, aside []string
		for _, b := range e.Boards {
			switch {
			case b.IsDone:
				done = append(done, b.Board)
			case b.Trouble == "":
				late = append(late, b.Board)
			default:
				absent = append(absent, b.Board+" ("+b.Trouble+")")
			}
			if b.SetAside > 0 {
				aside = append(aside, b.Board)
			}
		}
		if len(late) > 0 && time.Since(began) < erasureLimit {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(erasureInterval):
			}
			continue
		}
		for _, part := range []struct {
			boards []string
			form   string
		}{
			{done, "Rewritten: %s."},
			{absent, "Not yet: %s. Each does it when it is back, also with a new program."},
			{aside, "Files that were set aside (log/damaged-... of the [orders] directory) may have the person, for 30 days at most, on %s. Remove those that you do not need."},
		} {
			if len(part.boards) > 0 {
				fmt.Fprintln(w.out, strings.Join(wrapText(fmt.Sprintf(part.form, strings.Join(part.boards, ", ")), helpWidth), "\n"))
			}
		}
		if len(late) > 0 {
			return fmt.Errorf("after %s these boards have not rewritten their files: %s. They go on trying: run this again to see, and look at their logs", erasureLimit, strings.Join(late, ", "))
		}
		return nil
	}
}
