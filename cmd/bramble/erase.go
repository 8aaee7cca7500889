package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"bramble/node/console/client"
	"bramble/node/orderservice"
)

// erasePeople erases the orders of references and e-mail addresses, after it has listed them and asked.
func erasePeople(ctx context.Context, w world, c *client.Client, o orderservice.OperatorCommand, whom []string, isSure bool) error {
	found, total := 0, 0
	for _, who := range whom {
		n, err := listErased(ctx, w, c, who)
		if found += n; err != nil {
			return err
		}
	}
	if found > 0 && !isSure {
		fmt.Fprint(w.out, "\nNothing brings back what is erased. Open orders are cancelled, without a mail.\nErase these orders? Type yes: ")
		if answer, _ := bufio.NewReader(w.in).ReadString('\n'); strings.TrimSpace(answer) != "yes" {
			return usagef("nothing was erased; --yes erases without asking")
		}
	}
	var before, after []orderservice.SaleJSON
	if err := c.Shop(ctx, http.MethodGet, "sales", nil, &before); err != nil {
		return err
	}
	for _, who := range whom {
		n, err := erasePerson(ctx, c, o, who)
		if total += n; err != nil {
			return fmt.Errorf("erased %s; %s: %w", pluralize(total, "order", "orders"), who, err)
		}
	}
	fmt.Fprintf(w.out, "Erased %s.\nEach board now rewrites its files, which also have forms that were refused.\n", pluralize(total, "order", "orders"))
	err := c.Shop(ctx, http.MethodGet, "sales", nil, &after)
	writeChangedSales(w.out, before, after)
	return err
}

// listErased prints the n orders that erasePerson would erase, and those of other spellings of the address.
func listErased(ctx context.Context, w world, c *client.Client, whom string) (n int, err error) {
	var person orderservice.OrderPage
	path, to := "person?email="+url.QueryEscape(whom), any(&person)
	if !strings.Contains(whom, "@") {
		person.Orders = make([]orderservice.OrderJSON, 1)
		path, to = "orders/"+url.PathEscape(whom), &person.Orders[0]
	}
	if err := c.Shop(ctx, http.MethodGet, path, nil, to); err != nil {
		return 0, err
	}
	if len(person.Orders) == 0 || person.Orders[0].Email == "" {
		fmt.Fprintf(w.out, "%s: no order has personal data of exactly this.\n", whom)
		person.Orders = nil
	}
	for i, list := range [][]orderservice.OrderJSON{person.Orders, person.Others} {
		if i > 0 && len(list) > 0 {
			fmt.Fprintf(w.out, "Other spellings, which may be of other people, stay. Name them to erase them:\n")
		}
		for _, o := range list {
			fmt.Fprintf(w.out, "%-13s  %-8s  %-11s  %-21s  %s\n", o.Reference, o.Kind, o.State, truncateCell(o.Product, 21), o.Email)
		}
	}
	return len(person.Orders), nil
}

// erasePerson erases the orders of a reference or an e-mail address, in as many requests as it takes.
func erasePerson(ctx context.Context, c *client.Client, o orderservice.OperatorCommand, whom string) (total int, err error) {
	o.Reference = whom
	if strings.Contains(whom, "@") {
		o.Reference, o.Email = "", whom
	}
	for {
		var done orderservice.OperatorResult
		o.OpID = orderservice.NewOpID()
		err := c.Shop(ctx, http.MethodPost, "commands", o, &done)
		if total += done.Count; err != nil || done.Remaining == 0 {
			return total, err
		}
		if done.Count == 0 {
			return total, fmt.Errorf("%d more in a ballot that is being drawn: run this again after the draw. %s", done.Remaining, done.Waits)
		}
	}
}

const (
	erasureLimit    = 2 * time.Minute // of the wait for the boards; one does it at most once a minute
	erasureInterval = time.Second
)

// awaitErasure waits until every board that answers has rewritten its files, and names the others.
func awaitErasure(ctx context.Context, w world, c *client.Client) error {
	const done, absent, aside, late = "Rewritten: %s.", "Not yet: %s. Each does it when it is back, also with a new program.",
		"Files that were set aside (log/damaged-... of the [orders] directory) may have the person, for 30 days at most, on %s. Remove those that you do not need.",
		"after %s these boards have not rewritten their files: %s. They go on trying: run this again to see, and look at their logs"
	for began := time.Now(); ; pauseFor(ctx, erasureInterval) {
		var e orderservice.ErasureJSON
		if err := c.Shop(ctx, http.MethodGet, "erasure", nil, &e); err != nil {
			return cmp.Or(ctx.Err(), err)
		}
		boards := map[string][]string{}
		for _, b := range e.Boards {
			state := late
			if b.IsDone {
				state = done
			} else if b.Trouble != "" {
				state = absent
				b.Board += " (" + b.Trouble + ")"
			}
			boards[state] = append(boards[state], b.Board)
			if b.SetAside > 0 {
				boards[aside] = append(boards[aside], b.Board)
			}
		}
		if len(boards[late]) > 0 && time.Since(began) < erasureLimit {
			continue
		}
		for _, form := range []string{done, absent, aside} {
			if len(boards[form]) > 0 {
				fmt.Fprintln(w.out, strings.Join(wrapText(fmt.Sprintf(form, strings.Join(boards[form], ", ")), helpWidth), "\n"))
			}
		}
		if len(boards[late]) > 0 {
			return fmt.Errorf(late, erasureLimit, strings.Join(boards[late], ", "))
		}
		return nil
	}
}
