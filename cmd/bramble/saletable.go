package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"bramble/node/orderservice"
)

// tableWidth is the width of a terminal that every table fits.
const tableWidth = 80

// saleColumn is a column of a table of sales.
type saleColumn struct {
	title string
	read  func(orderservice.SaleJSON) string
	// isOptional: the column is left out if every sale of the table has "0" there.
	isOptional bool
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
			rows[i] += cell + strings.Repeat(" ", width-utf8.RuneCountInString(cell)+1)
		}
		used += width + 1
	}
	flush()
}
