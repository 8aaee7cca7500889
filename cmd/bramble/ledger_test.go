package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"bramble/node/orderservice"
)

func TestLedgerTableFitsATerminal(t *testing.T) {
	s := orderservice.LedgerState{
		Ledger: "39e528598b046377", Founded: true, Leader: "board-with-a-very-long-name-indeed", LastEntry: 1_234_567_890, Applied: 1_200_000_000,
		NameConflicts: []string{"the boards till.00000001 and board-3.00000002 are all called till: give each another [board] name"},
		Outdated:      "board-9 (0123456789abcdef)",
		Ahead:         []orderservice.LedgerAhead{{Board: "board-9", Ledger: "0123456789abcdef", Entries: 7}},
	}
	boards := []orderservice.LedgerBoard{
		{Board: "board-1", Server: "board-1.00000001", Ledger: s.Ledger, Voter: true, Leading: true, Index: 1_200_000_000, Last: 1_234_567_890},
		{Board: "board-2", Server: "board-2.00000002", Ledger: s.Ledger, Voter: true, Trouble: "it does not answer"},
		{Board: strings.Repeat("n", 64), Server: strings.Repeat("n", 64) + ".00000003", Ledger: s.Ledger, Index: 7},
		{Board: "board-4", Server: "board-4.00000004", Trouble: "it has no ledger, and lost its files: " + strings.Repeat("why ", 30)},
		{Board: "board-9", Server: "board-9.00000005", Ledger: "0123456789abcdef", Trouble: "another ledger"},
	}
	got := ledgerTable(s, boards)
	for line := range strings.SplitSeq(got, "\n") {
		if utf8.RuneCountInString(line) > 80 {
			t.Errorf("wider than 80 columns: %s", line)
		}
	}
	for _, want := range []string{"board-1         leader   1234567890  board-1.00000001", "it does not answer", "follower", "it has ledger 0123456789abcdef",
		"bramble ledger choose 39e528598b046377", "are all called till", "bramble orders export --stale on the board", "board-9 has up to 7 entries", "applied up to 1200000000"} {
		if !strings.Contains(strings.Join(strings.Fields(got), " "), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	t.Log("\n" + got)
}
