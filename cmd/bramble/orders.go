package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"bramble/node"
	"bramble/node/console/client"
	"bramble/node/orderservice"
)

func ordersCommand() command {
	return command{
		name:  "orders",
		args:  "list|show|export|cancel|forget|trail [WHAT]",
		short: "list, show, export, cancel and forget orders",
		long: `
What people have with the shop, and what an operator does with it:

  list         a line for each: orders, ballot entries, who waits, who asks
  show REF     everything about one
  export       all of them with names and addresses, as CSV or JSON lines
  cancel REF   takes one back, also while it is being handed over
  forget WHO   erases a person: one paper, or all that an e-mail address has
  trail        what operators changed, when, and who they said they were

export --card FOLDER reads the ledger's folder of a card that was pulled out of
a dead board; no rack is asked.`,
		flags: func(fs *flagSet) runner {
			connect := addConsoleFlags(fs)
			var o ordersFlags
			fs.StringVar(&o.product, "product", "", "only those of this `PRODUCT`")
			fs.StringVar(&o.kind, "kind", "", "only this `KIND`: order, entry, interest or waiting")
			fs.StringVar(&o.state, "state", "", "only this `STATE`, such as open, fulfilled or cancelled")
			fs.BoolVar(&o.json, "json", false, "JSON lines instead of a table or CSV")
			fs.BoolVar(&o.stale, "stale", false, "also read a board that cannot tell whether it knows all")
			fs.StringVar(&o.card, "card", "", "export: read this `FOLDER` of a dead board's ledger")
			fs.StringVar(&o.out, "out", "", "export: write this `FILE` instead of standard output")
			fs.StringVar(&o.reason, "reason", "", "cancel: `TEXT` for the record, without personal data")
			who := operatorFlag(fs)
			return func(ctx context.Context, w world, args []string) error {
				if len(args) == 0 {
					return usagef("say what to do: list, show, export, cancel, forget or trail")
				}
				do, rest := args[0], args[1:]
				wants := map[string]int{"list": 0, "show": 1, "export": 0, "cancel": 1, "forget": 1, "trail": 0}
				n, known := wants[do]
				switch {
				case !known:
					return usagef("%q is none of list, show, export, cancel, forget and trail", do)
				case len(rest) != n:
					return usagef("%s takes %s, not %d", do, pluralize(n, "word"), len(rest))
				case o.card != "" && do != "export":
					return usagef("--card is for export")
				case o.card != "":
					return o.exportCard(w)
				}
				c, err := connect(w)
				if err != nil {
					return err
				}
				defer c.Close()
				switch do {
				case "list":
					return o.listOrders(ctx, w, c)
				case "show":
					return o.showOrder(ctx, w, c, rest[0])
				case "export":
					return o.exportOrders(w, func(each func(orderservice.OrderJSON) error) error { return o.forEachOrder(ctx, c, each) })
				case "trail":
					return printAudit(ctx, w, c, o.json)
				case "cancel":
					return submitOrder(ctx, w, c, orderservice.OperatorCommand{Action: "cancel", Operator: who(w), Reference: rest[0], Text: o.reason})
				}
				return forgetPerson(ctx, w, c, orderservice.OperatorCommand{Action: "forget", Operator: who(w)}, rest[0])
			}
		},
	}
}

// ordersFlags are what the command line said.
type ordersFlags struct {
	product, kind, state string
	card, out, reason    string
	json, stale          bool
}

// forEachOrder gives each paper that is asked for to each, page by page.
func (o *ordersFlags) forEachOrder(ctx context.Context, c *client.Client, each func(orderservice.OrderJSON) error) error {
	q := url.Values{}
	for key, value := range map[string]string{"product": o.product, "kind": o.kind, "state": o.state} {
		if value != "" {
			q.Set(key, value)
		}
	}
	if o.stale {
		q.Set("stale", "1")
	}
	for {
		var page orderservice.OrderPage
		if err := c.Shop(ctx, http.MethodGet, "orders?"+q.Encode(), nil, &page); err != nil {
			return err
		}
		for _, p := range page.Orders {
			if err := each(p); err != nil {
				return err
			}
		}
		if page.Next == 0 {
			return nil
		}
		q.Set("after", strconv.FormatUint(page.Next, 10))
	}
}

// listOrders prints a line of at most 80 columns for each paper, without personal data.
func (o *ordersFlags) listOrders(ctx context.Context, w world, c *client.Client) error {
	if o.json {
		return o.forEachOrder(ctx, c, func(p orderservice.OrderJSON) error { return json.NewEncoder(w.out).Encode(p) })
	}
	const form = "%-13s %-8s %-12s %4s  %-16s %s\n"
	none := true
	err := o.forEachOrder(ctx, c, func(p orderservice.OrderJSON) error {
		if none {
			fmt.Fprintf(w.out, form, "REFERENCE", "KIND", "STATE", "QTY", "MADE (UTC)", "PRODUCT")
			none = false
		}
		_, err := fmt.Fprintf(w.out, form, p.Reference, p.Kind, p.State, strconv.Itoa(p.Quantity),
			p.Made.Format("2006-01-02 15:04"), truncateCell(p.Product, 21))
		return err
	})
	if err == nil && none {
		fmt.Fprintln(w.out, "There are none.")
	}
	return err
}

// truncateCell cuts a word that would break the table.
func truncateCell(s string, most int) string {
	if len(s) > most {
		return s[:most-1] + "…"
	}
	return s
}

func (o *ordersFlags) showOrder(ctx context.Context, w world, c *client.Client, ref string) error {
	var p orderservice.OrderJSON
	if err := c.Shop(ctx, http.MethodGet, "orders/"+url.PathEscape(ref), nil, &p); err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(w.out).Encode(p)
	}
	for i, cell := range p.Row() {
		if cell != "" {
			fmt.Fprintf(w.out, "%-10s %s\n", orderservice.Columns()[i], cell)
		}
	}
	return nil
}

// exportOrders writes all papers that from gives.
func (o *ordersFlags) exportOrders(w world, from func(each func(orderservice.OrderJSON) error) error) (err error) {
	out := w.out
	if o.out != "" {
		// Names and addresses: for the owner alone.
		f, err := os.OpenFile(o.out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("making the file: %w; name one that is not there yet", err)
		}
		defer func() {
			if closing := f.Close(); err == nil && closing != nil {
				err = fmt.Errorf("writing %s: %w", o.out, closing)
			}
		}()
		out = f
	}
	buffered := bufio.NewWriter(out)
	n, write, flush := 0, o.newRowWriter(buffered), buffered.Flush
	err = from(func(p orderservice.OrderJSON) error {
		n++
		return write(p)
	})
	if err = errors.Join(err, flush()); err != nil {
		return fmt.Errorf("after %d: %w", n, err)
	}
	if o.out != "" {
		fmt.Fprintf(w.out, "%d written to %s.\n", n, o.out)
	}
	return nil
}

// newRowWriter writes one paper after the other, as CSV with a line of names on top
// (RFC 4180) or as JSON lines.
func (o *ordersFlags) newRowWriter(to io.Writer) func(orderservice.OrderJSON) error {
	if o.json {
		lines := json.NewEncoder(to)
		return func(p orderservice.OrderJSON) error { return lines.Encode(p) }
	}
	rows := csv.NewWriter(to)
	top := rows.Write(orderservice.Columns())
	return func(p orderservice.OrderJSON) error {
		err := errors.Join(top, rows.Write(p.Row()))
		rows.Flush()
		return errors.Join(err, rows.Error())
	}
}

// exportCard reads the folder of a dead board.
func (o *ordersFlags) exportCard(w world) error {
	found, err := node.ReadCard(o.card)
	if err != nil {
		return err
	}
	defer found.Close()
	if err := o.exportOrders(w, func(each func(orderservice.OrderJSON) error) error {
		return found.Each(func(p orderservice.OrderJSON) error {
			if o.product != "" && p.Product != o.product || o.kind != "" && p.Kind != o.kind || o.state != "" && p.State != o.state {
				return nil
			}
			return each(p)
		})
	}); err != nil {
		return err
	}
	printError(w, found.Note)
	return nil
}

// printAudit prints what operators changed, in lines for people or as JSON lines.
func printAudit(ctx context.Context, w world, c *client.Client, asJSON bool) error {
	lines := json.NewEncoder(w.out)
	after := uint64(0)
	for {
		var page orderservice.AuditPage
		if err := c.Shop(ctx, http.MethodGet, fmt.Sprintf("audit?after=%d", after), nil, &page); err != nil {
			return err
		}
		for _, line := range page.Changes {
			if asJSON {
				if err := lines.Encode(line); err != nil {
					return err
				}
				continue
			}
			text := fmt.Sprintf("%s %s: %s", line.At.Format(time.DateTime), line.Operator, line.Action)
			fmt.Fprintln(w.out, strings.Join(wrapText(text, helpWidth), "\n    "))
		}
		if after = page.Next; after == 0 {
			return nil
		}
	}
}

// forgetPerson erases a person, in as many steps as it takes.
func forgetPerson(ctx context.Context, w world, c *client.Client, o orderservice.OperatorCommand, whom string) error {
	if strings.Contains(whom, "@") {
		o.Email = whom
	} else {
		o.Reference = whom
	}
	total := 0
	for {
		var done orderservice.OperatorResult
		o.OpID = orderservice.NewOpID()
		if err := c.Shop(ctx, http.MethodPost, "commands", o, &done); err != nil {
			return err
		}
		total += done.Count
		if done.Left > 0 && done.Count == 0 {
			return fmt.Errorf("%s erased, %d still in a ballot that is being drawn: ask again after the draw", pluralize(total, "paper"), done.Left)
		}
		if done.Left == 0 {
			fmt.Fprintf(w.out, "Erased from %s. The boards rewrite their logs within minutes.\n", pluralize(total, "paper"))
			return nil
		}
	}
}

// pluralize counts things in words.
func pluralize(n int, what string) string {
	if n == 1 {
		return "one " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
