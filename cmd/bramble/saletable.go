package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"bramble/node/console/client"
	"bramble/node/orderservice"
)

const tableWidth = 80 // width of a terminal that every table fits

type saleColumn struct {
	title      string
	read       func(orderservice.SaleJSON) string
	isOptional bool // the column is left out if every sale of the table has "0" there
}

func saleColumns() []saleColumn {
	n := func(n int64) string { return strconv.FormatInt(n, 10) }
	moment := func(t *time.Time) string {
		switch {
		case t == nil:
			return "none"
		case t.Second() != 0:
			return t.UTC().Format("2006-01-02 15:04:05")
		}
		return formatMinute(*t)
	}
	return []saleColumn{
		{title: "STATE", read: func(s orderservice.SaleJSON) string { return s.State }},
		{title: "STOCK", read: func(s orderservice.SaleJSON) string { return n(s.Stock) }},
		{title: "SOLD", read: func(s orderservice.SaleJSON) string { return n(s.Sold) }},
		{title: "HELD", read: func(s orderservice.SaleJSON) string { return n(s.Held) }},
		{title: "FREE", read: func(s orderservice.SaleJSON) string { return n(s.Free) }},
		{title: "WAITING", read: func(s orderservice.SaleJSON) string { return n(int64(s.Waiting + s.Interested)) }, isOptional: true},
		{title: "OPENS (UTC)", read: func(s orderservice.SaleJSON) string { return moment(s.Opens) }},
		{title: "CLOSES (UTC)", read: func(s orderservice.SaleJSON) string { return moment(s.Closes) }},
	}
}

// writeBeforeAfter writes a sale before and after a command, a row each. Columns that do
// not fit tableWidth follow in a second table.
func writeBeforeAfter(out io.Writer, before, after orderservice.SaleJSON) {
	rows := [3]string{"        ", "before  ", "after   "}
	flush := func() {
		for i, row := range rows {
			fmt.Fprintln(out, strings.TrimRight(row, " "))
			rows[i] = rows[i][:len("before  ")]
		}
	}
	used := len("before  ")
	for _, c := range saleColumns() {
		cells := [3]string{c.title, c.read(before), c.read(after)}
		if c.isOptional && cells[1] == "0" && cells[2] == "0" {
			continue
		}
		width := 0
		for _, cell := range cells {
			width = max(width, utf8.RuneCountInString(cell))
		}
		if used+width > tableWidth {
			flush()
			used = len("before  ")
		}
		for i, cell := range cells {
			rows[i] += fmt.Sprintf("%-*s ", width, cell)
		}
		used += width + 1
	}
	flush()
}

// writeDifferences writes what the files of a board have differently from a sale, or, if it
// is applied, what a revision has taken over.
func writeDifferences(out io.Writer, list []orderservice.DifferenceJSON, isApplied bool) {
	for _, d := range list {
		line := fmt.Sprintf("%s: %s in the sale, %s in the file", d.Field, d.Sale, d.File)
		switch d.Remedy {
		case "revise":
			if isApplied {
				line = fmt.Sprintf("%s: %s before, %s now", d.Field, d.Sale, d.File)
				break
			}
			line += " (revise)"
		case "fixed":
			line += " (fixed since the first offer; another product can have it)"
		default:
			line += fmt.Sprintf(" (bramble sale %s)", d.Remedy)
		}
		fmt.Fprintln(out, "    "+strings.Join(wrapText(line, helpWidth-6), "\n      "))
	}
}

// writeChangedSales writes before and after of each sale that a command about several changed.
func writeChangedSales(out io.Writer, before, after []orderservice.SaleJSON) {
	for _, b := range before {
		for _, a := range after {
			isChanged := slices.ContainsFunc(saleColumns(), func(c saleColumn) bool { return c.read(a) != c.read(b) })
			if a.Product == b.Product && isChanged {
				fmt.Fprintf(out, "The sale of %s:\n", a.Product)
				writeBeforeAfter(out, b, a)
			}
		}
	}
}

// listSales prints a line for each sale, and below it what else there is to know.
func listSales(ctx context.Context, w world, c *client.Client, all, asJSON bool) error {
	var sales []orderservice.SaleJSON
	if err := getSales(ctx, w, c, "sales", &sales); err != nil {
		return err
	}
	if !all {
		sales = slices.DeleteFunc(sales, func(s orderservice.SaleJSON) bool { return s.Retired })
	}
	if asJSON {
		return printJSON(w, sales)
	}
	var restore orderservice.RestoreJSON
	if err := c.Shop(ctx, http.MethodGet, "restore", nil, &restore); err == nil && restore.InProgress {
		printNote(w, restore.Text)
	}
	if len(sales) == 0 {
		fmt.Fprintln(w.out, "There are no sales yet.")
		return nil
	}
	const form = "%-22s %-10s %-11s %8s %8s %6s %8s\n"
	fmt.Fprintf(w.out, form, "PRODUCT", "MODE", "STATE", "STOCK", "SOLD", "HELD", "FREE")
	for _, s := range sales {
		n := func(n int64) string { return strconv.FormatInt(n, 10) }
		fmt.Fprintf(w.out, form, truncateCell(s.Product, 22), s.Mode, s.State, n(s.Stock), n(s.Sold), n(s.Held), n(s.Free))
		for _, line := range describeSale(s) {
			fmt.Fprintln(w.out, "    "+strings.Join(wrapText(line, helpWidth-6), "\n      "))
		}
	}
	return nil
}

// describeSale returns what a line of the list does not have, a line each.
func describeSale(s orderservice.SaleJSON) []string {
	var counts, lines, fields, own []string
	for _, q := range []struct {
		n    int
		what string
	}{{s.Entries, "in the ballot"}, {s.Waiting, "waiting"}, {s.Interested, "interested"}} {
		if q.n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", q.n, q.what))
		}
	}
	for i, at := range []*time.Time{s.Opens, s.Closes} {
		if at != nil {
			counts = append(counts, []string{"opens ", "closes "}[i]+at.Format(time.RFC3339))
		}
	}
	if s.Confirm != "" {
		within := "confirmed by mail within " + strings.TrimSuffix(s.Confirm, "0s")
		if s.Draw != nil {
			within += " (entries: until the close)"
		}
		counts = append(counts, within)
	}
	addIf := func(isTrue bool, format string, args ...any) {
		if isTrue {
			lines = append(lines, fmt.Sprintf(format, args...))
		}
	}
	addIf(len(counts) > 0, "%s", strings.Join(counts, ", "))
	addIf(s.ClosedByOperator && s.State == "closed" && s.Stuck != "closed", "closed by an operator, whatever the hours are: bramble sale open %s", s.Product)
	addIf(s.Unposted > 0, "%s from before the webhook: neither sent nor posted (bramble sale fulfil %s)", pluralize(s.Unposted, "order", "orders"), s.Product)
	addIf(s.Retired, "retired")
	addIf(s.Refused != "", "the order book refuses it: %s", s.Refused)
	if s.Draw != nil && s.State == "drawing" {
		lines = append(lines, s.Draw.Describe(s.Product))
	}
	addIf(s.FirstWants > 0, "the first in the queue wants %d (free: %d); invitations pass over who wants more", s.FirstWants, s.Free)
	switch s.Stuck {
	case "by_hand":
		lines = append(lines, fmt.Sprintf("units are free and people wait: bramble sale invite %s --count N", s.Product))
	case "closed":
		lines = append(lines, fmt.Sprintf("units are free and people wait, but the sale is closed: bramble sale open %s", s.Product))
	case "too_few":
		if s.State == "in_stock" {
			lines = append(lines, "each of those who wait wants more than is free, so others can order it")
			break
		}
		lines = append(lines, fmt.Sprintf("%d free, but each of those who wait wants more: bramble sale stock %s N", s.Free, s.Product))
	}
	for _, d := range s.Differences {
		if d.Remedy == "stock" || d.Remedy == "times" { // as after "sale stock" and "sale times"
			own = append(own, d.Field)
		} else {
			fields = append(fields, d.Field)
		}
	}
	addIf(len(fields) > 0, "differs from the catalogue: %s (bramble sale revise %s --dry-run)", strings.Join(fields, ", "), s.Product)
	addIf(len(own) > 0, "not as in the catalogue's file, which counts no more: %s", strings.Join(own, ", "))
	return lines
}
