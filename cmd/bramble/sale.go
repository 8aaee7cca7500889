package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/user"
	"strconv"
	"strings"
	"time"

	"bramble/cluster/ledger"
	"bramble/node/console"
	"bramble/node/console/client"
	"bramble/node/orderservice"
)

func saleCommand() command {
	return command{
		name:  "sale",
		args:  "ACTION [PRODUCT [N]]",
		short: "show and change sales: stock, hours, invitations",
		long: `
Show and change the sales of the shop, as the ledger has them. Every change
prints the sale before and after:

  list              print stock, sold, held and free units, and the hours; also
                    units that are free although people wait, and what the
                    catalogue has differently
  stock PRODUCT N   add N units to the stock; to remove free units:
                    sale stock PRODUCT -- -N
  open PRODUCT      open the sale now
  close PRODUCT     close the sale now
  times PRODUCT     change the hours to --opens and --closes; one that is
                    omitted stays, and "none" removes one
  invite PRODUCT    invite the next --count people on the waiting list, and hold
                    units for them for --valid-for
  revise PRODUCT    take over what the catalogue and the configuration have
                    changed since the product was first offered: price, delivery
                    and tax, limit, webhook, mail and others. Orders that were
                    placed keep their price. --dry-run only shows the changes
  retire PRODUCT    hide a closed sale; --undo brings it back
  fulfil PRODUCT    post also the orders from before the shop had a webhook

The catalogue's file is used only when a product is first offered. After that
the ledger is authoritative, and the audit log has each change with the
operator's name.`,
		examples: `
  bramble sale list
  bramble sale stock berry 500
  bramble sale times berry --opens 2012-02-29T06:00:00Z --closes none
  bramble sale invite berry --count 20 --valid-for 48h
  bramble sale revise berry --dry-run`,
		flags: func(fs *flagSet) runner {
			connect := addConsoleFlags(fs)
			var f saleFlags
			fs.StringVar(&f.opens, "opens", "", "times: `TIME` when the sale opens, such as 2012-02-29T06:00:00Z, or none: from the start")
			fs.StringVar(&f.closes, "closes", "", "times: `TIME` when the sale closes, or none: never by the clock")
			fs.Int64Var(&f.count, "count", 0, "invite: at most `N` people")
			fs.DurationVar(&f.validFor, "valid-for", 48*time.Hour, "invite: how long an invitation is valid, a `DURATION`")
			fs.BoolVar(&f.dryRun, "dry-run", false, "revise: show the changes and make none")
			fs.BoolVar(&f.undo, "undo", false, "retire: bring the sale back, closed")
			fs.BoolVar(&f.all, "all", false, "list: also retired sales")
			asJSON := fs.Bool("json", false, "print JSON instead of text and tables")
			operator := operatorFlag(fs)
			return func(ctx context.Context, w world, args []string) error {
				o, err := f.buildCommand(fs, args)
				if err != nil {
					return err
				}
				o.Operator = operator(w)
				return connect(w, func(c *client.Client) error {
					if o.Action == "list" {
						return listSales(ctx, w, c, f.all, *asJSON)
					}
					if o.Action == "invite" {
						now, err := getLedgerTime(ctx, c)
						if err != nil {
							return err
						}
						until := now.Add(f.validFor).UTC().Truncate(time.Second)
						o.Until = &until
					}
					return submitCommand(ctx, w, c, o, *asJSON)
				})
			}
		},
	}
}

type saleFlags struct {
	opens, closes     string
	count             int64
	validFor          time.Duration
	dryRun, undo, all bool
}

func (f *saleFlags) buildCommand(fs *flagSet, args []string) (o orderservice.OperatorCommand, err error) {
	o.Action, args, err = fs.chooseAction(args, "list, stock, open, close, times, invite, revise, retire or fulfil",
		map[string]int{"list": 0, "stock": 2, "open": 1, "close": 1, "times": 1, "invite": 1, "revise": 1, "retire": 1, "fulfil": 1})
	if err != nil {
		return o, err
	}
	if len(args) > 0 {
		o.Product = args[0]
	}
	o.DryRun, o.Undo = f.dryRun, f.undo
	switch o.Action {
	case "stock":
		if o.Count, err = strconv.ParseInt(args[1], 10, 64); err != nil || o.Count == 0 {
			return o, usagef("%q is not a number of units: use one such as 500, or -20 after --", args[1])
		}
	case "times":
		return f.addTimes(o)
	case "invite":
		if f.count < 1 {
			return o, usagef("invite needs --count, the number of people")
		}
		o.Count = f.count
	}
	return o, nil
}

// getLedgerTime returns the time by the ledger's clock, by which invitations end: this
// computer's may be wrong.
func getLedgerTime(ctx context.Context, c *client.Client) (time.Time, error) {
	var report ledger.ClockReport
	if err := c.Shop(ctx, http.MethodGet, "ledger/clock", nil, &report); err != nil || report.Known {
		return report.Time, err
	}
	return time.Time{}, errors.New("the ledger has no time yet: see bramble ledger clock")
}

// addTimes adds the hours to a command: a flag that is omitted changes nothing.
func (f *saleFlags) addTimes(o orderservice.OperatorCommand) (orderservice.OperatorCommand, error) {
	for _, t := range []struct {
		flag, text string
		to         **time.Time
	}{{"opens", f.opens, &o.Opens}, {"closes", f.closes, &o.Closes}} {
		switch t.text {
		case "":
		case "none":
			o.Clear = append(o.Clear, t.flag)
		default:
			moment, err := parseTime(t.flag, t.text)
			if err != nil {
				return o, err
			}
			*t.to = moment
		}
	}
	if o.Opens == nil && o.Closes == nil && o.Clear == nil {
		return o, usagef("times needs --opens or --closes: a time, or none to remove it")
	}
	return o, nil
}

// parseTime parses the time of a flag. An empty text returns nil: no time.
func parseTime(flag, text string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, usagef("--%s: %q is not a time: use one such as 2012-02-29T06:00:00Z", flag, text)
	}
	return &t, nil
}

// getSales requests sales as they are on all boards. Without a majority it requests this
// board's copy, with a warning.
func getSales(ctx context.Context, w world, c *client.Client, path string, out any) error {
	err := c.Shop(ctx, http.MethodGet, path, nil, out)
	if !errors.Is(err, console.ErrUnavailable) {
		return err
	}
	if err := readStale(ctx, w, func() error { return c.Shop(ctx, http.MethodGet, path+"?stale=1", nil, out) }); err != nil {
		return err
	}
	printNote(w, "The order book has no majority of its boards now, or this board has not caught up: these figures may be old.")
	return nil
}

func announceCommand() command {
	return command{
		name:  "announce",
		args:  "TEXT",
		short: "show an announcement on every page of the shop",
		long: `
Show an announcement at the top of every page of the shop, on every board within
a second, and add it to the list of announcements. An empty text removes the
announcements.`,
		examples: `
  bramble announce "We ship again on Monday."
  bramble announce ""`,
		flags: func(fs *flagSet) runner {
			connect := addConsoleFlags(fs)
			operator := operatorFlag(fs)
			return func(ctx context.Context, w world, args []string) error {
				if len(args) != 1 {
					return usagef("name one text, in quotes")
				}
				return connect(w, func(c *client.Client) error {
					return submitCommand(ctx, w, c, orderservice.OperatorCommand{Action: "announce", Operator: operator(w), Text: args[0]}, false)
				})
			}
		},
	}
}

// operatorFlag declares the flag for the operator's name in the audit log.
func operatorFlag(fs *flagSet) func(world) string {
	name := fs.String("operator", "", "`NAME` for the audit log (default: the user's name)")
	return func(w world) string {
		if *name != "" {
			return *name
		}
		if u, err := user.Current(); err == nil && u.Username != "" {
			return u.Username
		}
		return "operator"
	}
}

// submitCommand sends an operator's command to the rack and prints the result: a sentence,
// and the sale before and after, or JSON.
func submitCommand(ctx context.Context, w world, c *client.Client, o orderservice.OperatorCommand, asJSON bool) error {
	o.OpID = orderservice.NewOpID()
	var done orderservice.OperatorResult
	if err := c.Shop(ctx, http.MethodPost, "commands", o, &done); err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, done)
	}
	fmt.Fprintln(w.out, strings.Join(wrapText(done.Text, helpWidth), "\n"))
	writeDifferences(w.out, done.Differences, !o.DryRun)
	if done.Before != nil && done.After != nil {
		if o.Product == "" {
			fmt.Fprintf(w.out, "The sale of %s:\n", done.After.Product)
		}
		writeBeforeAfter(w.out, *done.Before, *done.After)
	}
	return nil
}
