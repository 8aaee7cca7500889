package main

import (
	"strings"
	"testing"
	"time"

	"bramble/node/orderservice"
)

// A command that changes a sale prints it before and after, in 80 columns.
func TestBeforeAfter(t *testing.T) {
	opens, closes := time.Date(2030, 1, 1, 6, 0, 0, 0, time.UTC), time.Date(2030, 2, 1, 6, 0, 30, 0, time.UTC)
	before := orderservice.SaleJSON{Product: "berry", State: "upcoming", Stock: 10_000, Free: 10_000, Opens: &opens}
	after := before
	after.Closes = &closes
	var out strings.Builder
	writeBeforeAfter(&out, before, after)
	want := `        STATE    STOCK SOLD HELD FREE  OPENS (UTC)      CLOSES (UTC)
before  upcoming 10000 0    0    10000 2030-01-01 06:00 none
after   upcoming 10000 0    0    10000 2030-01-01 06:00 2030-02-01 06:00:30
`
	if out.String() != want {
		t.Errorf("\n%swant\n%s", out.String(), want)
	}
	before.Stock, before.Sold, before.Held, before.Waiting = 100_000_000, 50_000_000, 49_000_000, 1_000_000
	before.Free, before.Opens = 1_000_000, &closes
	out.Reset()
	writeBeforeAfter(&out, before, after)
	for _, line := range strings.Split(out.String(), "\n") {
		if len(line) > tableWidth {
			t.Errorf("wider than %d columns: %s", tableWidth, line)
		}
	}
	if !strings.Contains(out.String(), "WAITING") || strings.Count(out.String(), "before") != 2 {
		t.Errorf("\n%s", out.String())
	}
}

// TestChangedSales: a command about several sales prints those that it changed.
func TestChangedSales(t *testing.T) {
	before := []orderservice.SaleJSON{{Product: "berry", Stock: 10, Sold: 3}, {Product: "till", Stock: 5}, {Product: "gone", Sold: 1}}
	after := []orderservice.SaleJSON{{Product: "till", Stock: 5}, {Product: "berry", Stock: 10, Sold: 1}}
	var out strings.Builder
	writeChangedSales(&out, before, after)
	if text := out.String(); !strings.HasPrefix(text, "The sale of berry:\n") || strings.Count(text, "The sale of") != 1 ||
		!strings.Contains(text, "\nbefore ") || !strings.Contains(text, "\nafter ") {
		t.Errorf("it prints\n%s", text)
	}
}
