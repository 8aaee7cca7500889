package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"bramble/node/console/client"
	"bramble/node/orderservice"
)

// maxSentOrders bounds the orders of one file, and maxSentBytes the file.
const (
	maxSentOrders = 100_000
	maxSentBytes  = 32 << 20
)

type sentOrder struct{ reference, note string }

// markSent marks orders as sent: those of a file, or those that refs name. An order that
// cannot be marked does not keep the others from it.
func (o *ordersFlags) markSent(ctx context.Context, w world, c *client.Client, operator string, refs []string) error {
	var list []sentOrder
	for _, ref := range refs {
		list = append(list, sentOrder{ref, o.note})
	}
	if o.from != "" {
		in, err := openInput(w, o.from, "the file of orders")
		if err != nil {
			return err
		}
		defer in.Close()
		if list, err = parseSentFile(io.LimitReader(in, maxSentBytes), o.note); err != nil {
			return fmt.Errorf("%s: %w", o.from, err)
		}
	}
	failed := 0
	for _, sent := range list {
		command := orderservice.OperatorCommand{Action: "sent", Operator: operator, OpID: orderservice.NewOpID(), Reference: sent.reference, Text: sent.note}
		var done orderservice.OperatorResult
		err := c.Shop(ctx, http.MethodPost, "commands", command, &done)
		switch {
		case errors.Is(err, client.ErrUnreachable), errors.Is(err, client.ErrRefused), ctx.Err() != nil:
			return err
		case err != nil:
			if len(list) == 1 {
				return err
			}
			failed++
			printError(w, sent.reference+": "+err.Error())
		case o.json:
			if err := printJSON(w, done); err != nil {
				return err
			}
		default:
			fmt.Fprintln(w.out, done.Text)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %s could not be marked as sent; the others are", failed, pluralize(len(list), "order", "orders"))
	}
	return nil
}

// findSeparator returns the separator of a file's columns: the first comma, semicolon or tab
// outside quotes. Spreadsheets of countries with a decimal comma write semicolons.
func findSeparator(text string) rune {
	quoted := false
	for _, r := range text {
		switch {
		case r == '"':
			quoted = !quoted
		case !quoted && strings.ContainsRune(",;\t", r):
			return r
		}
	}
	return ','
}

// parseSentFile parses CSV, with commas, semicolons or tabs, with a reference in each line. A first line of column names may
// put the columns "reference" and "tracking" anywhere, as in an export to which a column was
// added; without it they are the first two. A line without a note gets the note given.
func parseSentFile(in io.Reader, note string) ([]sentOrder, error) {
	lines := bufio.NewReader(in)
	if bom, err := lines.Peek(3); err == nil && string(bom) == "\ufeff" {
		lines.Discard(3) // cannot fail after Peek
	}
	rows := csv.NewReader(lines)
	rows.FieldsPerRecord = -1
	beginning, _ := lines.Peek(lines.Size()) // an error means that the file is shorter
	rows.Comma = findSeparator(string(beginning))
	var list []sentOrder
	reference, tracking := 0, 1
	for first := true; ; first = false {
		row, err := rows.Read()
		switch {
		case errors.Is(err, io.EOF):
			if len(list) == 0 {
				return nil, errors.New("it names no order: write a reference in each line")
			}
			return list, nil
		case err != nil:
			return nil, fmt.Errorf("not CSV: %w", err)
		case first && slices.Contains(row, "reference"):
			reference, tracking = slices.Index(row, "reference"), slices.Index(row, "tracking")
			continue
		}
		line, _ := rows.FieldPos(0)
		if len(row) <= reference || strings.TrimSpace(row[reference]) == "" {
			return nil, fmt.Errorf("line %d has no reference", line)
		}
		sent := sentOrder{strings.TrimSpace(row[reference]), note}
		if tracking >= 0 && tracking < len(row) && row[tracking] != "" {
			sent.note = orderservice.ParseCell(row[tracking])
		}
		if list = append(list, sent); len(list) > maxSentOrders {
			return nil, fmt.Errorf("it names more than %d orders: use several files", maxSentOrders)
		}
	}
}
