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
	"slices"
	"strconv"
	"strings"
	"time"

	"bramble/node"
	"bramble/node/console/client"
	"bramble/node/orderservice"
	"bramble/node/shop"
)

func ordersCommand() command {
	return command{
		name:  "orders",
		args:  "ACTION [REF … | WHOM …]",
		short: "list, export, send, return, cancel and erase orders",
		long: `
List, export, send, return, cancel and erase orders. An order here is also a
ballot entry, a registration of interest or a place on the waiting list:

  list          print one line per order, without personal data
  show REF      print everything about one order; --link: and the link of its
                receipt, for a buyer who lost it
  export        write all orders, with names and addresses, as CSV or JSON lines
  sent REF …    mark orders as sent by hand; --note for a tracking number, which
                the buyer sees. --from FILE names many orders ("-" is standard
                input): CSV with the columns reference and tracking,
                separated by commas, semicolons or tabs
  return REF    record that a sent order came back; its units leave the stock,
                or with --restock are on sale again; the earlier note stays
  cancel REF    cancel an order, even while it is being fulfilled
  relink        sign the links of receipts with a new secret; those from before
                stay valid. With --revoke, as after the theft of a card, they
                end, and each live order's buyer gets a mail with the new link,
                if the shop sends mail. That only says how many, without --yes
  erase WHOM …  erase personal data: of orders by their references, or of all
                orders of an e-mail address exactly as it was typed, also of a
                form that was refused. It lists them, and other spellings of
                the address, which stay, and asks. Then it waits until every
                board that answers has rewritten its files, at most 2 minutes,
                once for all WHOM, and names the others
  audit         print the operators' changes, with time and operator name

Amounts are decimals in CSV (39.00), and in minor units in JSON (3900).

export --ledger FOLDER reads the orders from the card of a dead board; it needs
no rack.`,
		examples: `
  bramble orders list --product berry --state open
  bramble orders export --out orders.csv
  bramble orders export --ledger /mnt/card/ledger --out orders.csv
  bramble orders sent REF --note "DHL 00340434161094000000"
  bramble orders sent --from sent.csv
  bramble orders return REF --restock --reason "unopened"
  bramble orders cancel REF --reason "wrong size"
  bramble orders relink --revoke
  bramble orders erase ada@buyer.example`,
		flags: func(fs *flagSet) runner {
			connect := addConsoleFlags(fs)
			var o ordersFlags
			fs.StringVar(&o.product, "product", "", "list, export: only orders of this `PRODUCT`")
			fs.StringVar(&o.kind, "kind", "", "list, export: only orders of this `KIND`: order, entry, interest or waiting")
			fs.StringVar(&o.state, "state", "", "list, export: only orders in this `STATE`, such as open, fulfilled or cancelled")
			fs.BoolVar(&o.json, "json", false, "list, show, export, audit, sent, return, cancel, relink: print JSON lines instead of a table or CSV")
			fs.BoolVar(&o.stale, "stale", false, "list, show, export, audit: accept one board's copy; without a leader, all that its log holds")
			fs.BoolVar(&o.bom, "bom", false, "export: begin the CSV with a byte order mark, by which Excel recognises UTF-8")
			fs.StringVar(&o.ledger, "ledger", "", "export: read this ledger `FOLDER` from a dead board's card")
			fs.BoolVar(&o.link, "link", false, "show: print the receipt's link too, which opens and cancels the order; it needs the role steer")
			fs.StringVar(&o.out, "out", "", "export: write this new `FILE` instead of standard output")
			fs.StringVar(&o.reason, "reason", "", "cancel, return: `TEXT` for the note of the order, which show prints, without personal data")
			fs.StringVar(&o.note, "note", "", "sent: `TEXT` such as a tracking number, which the buyer sees")
			fs.StringVar(&o.from, "from", "", "sent: read the references from this `FILE`, CSV")
			fs.BoolVar(&o.revoke, "revoke", false, "relink: the links from before end")
			fs.BoolVar(&o.noWait, "no-wait", false, "erase: do not wait for the boards to rewrite their files")
			fs.BoolVar(&o.yes, "yes", false, "relink, erase: do it, and do not ask (relink: with --revoke)")
			fs.BoolVar(&o.restock, "restock", false, "return: the units can be sold again")
			operator := operatorFlag(fs)
			return func(ctx context.Context, w world, args []string) error {
				do, rest, err := fs.chooseAction(args, "list, show, export, sent, return, cancel, relink, erase or audit",
					map[string]int{"list": 0, "show": 1, "export": 0, "sent": -1, "return": 1, "cancel": 1, "relink": 0, "erase": -1, "audit": 0})
				if err != nil {
					return err
				}
				if do == "sent" && (len(rest) == 0) == (o.from == "") {
					return usagef("sent needs references, or --from with a file of them")
				}
				if do == "erase" && (len(rest) == 0 || slices.Contains(rest, "")) {
					return usagef("erase needs references or e-mail addresses")
				}
				if _, err := orderservice.ParseFilter("", o.kind, o.state); err != nil {
					return usagef("--%v", err)
				}
				if o.ledger != "" {
					return o.exportLedger(w)
				}
				return connect(w, func(c *client.Client) error {
					switch do {
					case "list":
						return o.listOrders(ctx, w, c)
					case "show":
						return o.showOrder(ctx, w, c, rest[0])
					case "export":
						return o.exportOrders(w, func(each func(orderservice.OrderJSON) error) error { return o.forEachOrder(ctx, w, c, each) })
					case "audit":
						return printAudit(ctx, w, c, o.json, o.stale)
					case "sent":
						return o.markSent(ctx, w, c, operator(w), rest)
					case "cancel", "return":
						return submitCommand(ctx, w, c, orderservice.OperatorCommand{
							Action: do, Operator: operator(w), Reference: rest[0], Text: o.reason, Restock: o.restock}, o.json)
					case "relink":
						isDry := o.revoke && !o.yes
						err := submitCommand(ctx, w, c, orderservice.OperatorCommand{Action: do, Operator: operator(w), Revoke: o.revoke, DryRun: isDry}, o.json)
						if err == nil && isDry && !o.json {
							fmt.Fprintln(w.out, "To do it: bramble orders relink --revoke --yes")
						}
						return err
					}
					if err := erasePeople(ctx, w, c, orderservice.OperatorCommand{Action: "erase", Operator: operator(w)}, rest, o.yes); err != nil || o.noWait {
						return err
					}
					return awaitErasure(ctx, w, c)
				})
			}
		},
	}
}

type ordersFlags struct {
	product, kind, state string
	ledger, out, reason  string
	note, from           string
	json, stale, bom     bool
	restock, revoke, yes bool
	noWait, link         bool
}

// forEachOrder calls each for every selected order, page by page. With --stale it ends with a
// note about the copy that was read.
func (o *ordersFlags) forEachOrder(ctx context.Context, w world, c *client.Client, each func(orderservice.OrderJSON) error) error {
	n := 0
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
		if err := readStale(ctx, w, func() error { return c.Shop(ctx, http.MethodGet, "orders?"+q.Encode(), nil, &page) }); err != nil {
			return err
		}
		n += len(page.Orders)
		for _, order := range page.Orders {
			if err := each(order); err != nil {
				return err
			}
		}
		if page.Next == 0 {
			if page.Stale != nil {
				printError(w, describeStale(page.Stale, n))
			}
			return nil
		}
		q.Set("after", strconv.FormatUint(page.Next, 10))
	}
}

// describeStale returns what the n orders of a board's own copy are worth.
func describeStale(s *orderservice.StaleJSON, n int) string {
	if !s.FromLog {
		return fmt.Sprintf("This is one board's copy, up to entry %d of the ledger: newer changes may be missing.", s.Entry)
	}
	text := fmt.Sprintf("Read from this board's log, up to entry %d of the ledger: %s.", s.Entry, pluralize(n, "order", "orders"))
	switch {
	case s.Unproven == 1:
		text += " The last change in it is not proven: other boards may have gone on without it."
	case s.Unproven > 1:
		text += fmt.Sprintf(" The last %d changes in it are not proven: other boards may have gone on without them.", s.Unproven)
	}
	if s.Damage != "" {
		text += " The rest of the log cannot be read: " + s.Damage + "."
	}
	return text
}

const (
	logRetryInterval = time.Second      // between two requests to a board that still reads its log
	logReadLimit     = 10 * time.Minute // of all of them; a first Pi reads 300,000 orders in less
)

// readStale calls get again while the board still reads its log.
func readStale(ctx context.Context, w world, get func() error) error {
	told := false
	for began := time.Now(); ; pauseFor(ctx, logRetryInterval) {
		err := get()
		if err == nil || !strings.Contains(err.Error(), orderservice.StillReading) || time.Since(began) > logReadLimit {
			return err
		}
		if !told {
			printNote(w, "The board reads its log, which takes up to some minutes on a Pi.")
			told = true
		}
	}
}

// listOrders prints a line of at most 80 columns for each order, without personal data.
func (o *ordersFlags) listOrders(ctx context.Context, w world, c *client.Client) error {
	if o.json {
		return o.forEachOrder(ctx, w, c, func(order orderservice.OrderJSON) error { return printJSON(w, order) })
	}
	const form = "%-13s %-8s %-12s %4s  %-16s %s\n"
	none := true
	err := o.forEachOrder(ctx, w, c, func(order orderservice.OrderJSON) error {
		if none {
			fmt.Fprintf(w.out, form, "REFERENCE", "KIND", "STATE", "QTY", "MADE (UTC)", "PRODUCT")
			none = false
		}
		_, err := fmt.Fprintf(w.out, form, order.Reference, order.Kind, order.State, strconv.Itoa(order.Quantity),
			order.Made.Format("2006-01-02 15:04"), truncateCell(order.Product, 21))
		if order.SameAddress != "" {
			fmt.Fprintln(w.out, "    same postal address as "+order.SameAddress+", and together more than the limit")
		}
		return err
	})
	if err == nil && none {
		fmt.Fprintln(w.out, "There are no such orders.")
	}
	return err
}

func (o *ordersFlags) showOrder(ctx context.Context, w world, c *client.Client, ref string) error {
	var order orderservice.OrderJSON
	path, query := "orders/"+url.PathEscape(ref), ""
	if o.stale {
		query = "?stale=1"
		printError(w, "This is one board's copy: newer changes may be missing.")
	}
	if err := readStale(ctx, w, func() error { return c.Shop(ctx, http.MethodGet, path+query, nil, &order) }); err != nil {
		return err
	}
	shown := struct {
		orderservice.OrderJSON
		Link string `json:"link,omitempty"`
	}{OrderJSON: order}
	if o.link {
		if err := c.Shop(ctx, http.MethodGet, path+"/link"+query, nil, &shown); err != nil {
			return err
		}
	}
	if o.json {
		return printJSON(w, shown)
	}
	for i, cell := range order.Cells(formatAmount) {
		if cell != "" {
			fmt.Fprintf(w.out, "%-12s %s\n", orderservice.Columns()[i], cell)
		}
	}
	if o.link {
		fmt.Fprintf(w.out, "%-11s %s\n", "link", shown.Link)
	}
	return nil
}

// exportOrders writes all orders that from passes on.
func (o *ordersFlags) exportOrders(w world, from func(each func(orderservice.OrderJSON) error) error) (err error) {
	out := w.out
	if o.out != "" {
		// Names and addresses: for the owner alone.
		f, err := os.OpenFile(o.out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("creating the file: %w; name a file that does not exist yet", err)
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
	err = from(func(order orderservice.OrderJSON) error {
		n++
		return write(order)
	})
	if err = errors.Join(err, flush()); err != nil {
		return fmt.Errorf("after %s: %w", pluralize(n, "order", "orders"), err)
	}
	if o.out != "" {
		fmt.Fprintf(w.out, "Wrote %s to %s.\n", pluralize(n, "order", "orders"), o.out)
	}
	return nil
}

// newRowWriter returns a function that writes one order, as CSV after a line of
// column names (RFC 4180), or as JSON lines.
func (o *ordersFlags) newRowWriter(to io.Writer) func(orderservice.OrderJSON) error {
	if o.json {
		lines := json.NewEncoder(to)
		return func(order orderservice.OrderJSON) error { return lines.Encode(order) }
	}
	var begun error
	if o.bom {
		_, begun = io.WriteString(to, "\ufeff")
	}
	rows := csv.NewWriter(to)
	rows.UseCRLF = true
	writeRow := func(cells []string) error {
		err := rows.Write(cells)
		rows.Flush()
		return errors.Join(err, rows.Error())
	}
	begun = errors.Join(begun, writeRow(orderservice.Columns()))
	return func(order orderservice.OrderJSON) error { return errors.Join(begun, writeRow(order.Row(formatAmount))) }
}

// formatAmount writes minor units as a decimal with the currency's digits: 3900 is 39.00 in
// EUR, 3900 in JPY and 3.900 in KWD.
func formatAmount(minor int64, currency string) string {
	return shop.Money{Minor: minor, Currency: currency}.Amount()
}

// exportLedger exports from the ledger folder of a dead board.
func (o *ordersFlags) exportLedger(w world) error {
	found, err := node.ReadCard(o.ledger)
	if err != nil {
		return err
	}
	defer found.Close()
	if err := o.exportOrders(w, func(each func(orderservice.OrderJSON) error) error {
		return found.Each(func(order orderservice.OrderJSON) error {
			if o.product != "" && order.Product != o.product || o.kind != "" && order.Kind != o.kind || o.state != "" && order.State != o.state {
				return nil
			}
			return each(order)
		})
	}); err != nil {
		return err
	}
	printError(w, found.Note)
	return nil
}

// printAudit prints what operators changed, as text or as JSON lines.
func printAudit(ctx context.Context, w world, c *client.Client, asJSON, stale bool) error {
	after, copied := uint64(0), ""
	if stale {
		copied = "&stale=1"
		printError(w, "This is one board's copy: newer changes may be missing.")
	}
	for {
		var page orderservice.AuditPage
		if err := readStale(ctx, w, func() error {
			return c.Shop(ctx, http.MethodGet, fmt.Sprintf("audit?after=%d%s", after, copied), nil, &page)
		}); err != nil {
			return err
		}
		for _, line := range page.Changes {
			if asJSON {
				if err := printJSON(w, line); err != nil {
					return err
				}
				continue
			}
			text := fmt.Sprintf("%s %s: %s", line.At.Format(time.DateTime), line.Operator, plainAction(line.Action))
			if line.Times > 1 {
				text += fmt.Sprintf(", %d times", line.Times)
			}
			fmt.Fprintln(w.out, strings.Join(wrapText(text, helpWidth), "\n    "))
		}
		if after = page.Next; after == 0 {
			return nil
		}
	}
}

// plainAction returns an action of the audit log without the words that only the
// ledger uses: the time "never", and the outcome of a refused command.
func plainAction(action string) string {
	switch verb, _, _ := strings.Cut(action, " "); verb {
	case "offer", "times":
		action = strings.NewReplacer(" opens never", " no opening time", " closes never", " no closing time").Replace(action)
	}
	before, outcome, refused := strings.Cut(action, " (refused: ")
	if !refused || !strings.HasSuffix(outcome, ")") {
		return action
	}
	outcome = strings.TrimSuffix(outcome, ")")
	reasons := map[string]string{
		"already_done": "it was already done", "not_enough": "not enough free units", "too_late": "too late",
		"not_open": "not in this state of the sale", "malformed": "a value does not suit this sale",
		"full": "a limit is reached", "not_closed": "the sale is not closed, or people still wait", "no_order": "no such order", "wrong_kind": "not for this mode of sale",
	}
	if plain, ok := reasons[outcome]; ok {
		outcome = plain
	}
	return before + " (refused: " + outcome + ")"
}

// pluralize returns n with the word for it.
func pluralize(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
