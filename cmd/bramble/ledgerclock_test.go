package main

import (
	"strings"
	"testing"
	"time"

	"bramble/cluster/ledger"
)

func TestClockText(t *testing.T) {
	at := time.Date(2012, 2, 29, 6, 0, 0, 0, time.UTC)
	r := ledger.ClockReport{
		ClockStatus: ledger.ClockStatus{Time: at, Known: true, Held: "the boards' clocks differ: board-1 +0s, board-2 +2h0m0s; 2 must agree, and at most 1 do", HeldFor: 65.4},
		Leader:      "board-1",
		Boards: []ledger.BoardClock{
			{Board: "board-1", Heard: true, Time: at, Set: true, Servers: 3},
			{Board: "a-board-with-a-very-long-name", Heard: true, Time: at.Add(2 * time.Hour), Ahead: 7200, Set: true},
			{Board: "board-3", Heard: true},
			{Board: "board-4"},
		},
	}
	want := `The ledger's clock shows 2012-02-29 06:00:00 UTC.
It has been held for 1m5s: the boards' clocks differ: board-1 +0s, board-2
+2h0m0s; 2 must agree, and at most 1 do.
Draws, erasures and the end of invitations wait.

BOARD                    CLOCK (UTC)                DIFFERENCE  SERVERS
board-1                  2012-02-29 06:00:00               +0s        3
a-board-with-a-very-lon… 2012-02-29 08:00:00          +2h0m0s        -
board-3                  not set                             -        -
board-4                  no answer                           -        -
`
	want = strings.Replace(want, "          +2h0m0s", "           +2h0m0s", 1)
	if got := clockText(r); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, tt := range []struct {
		status ledger.ClockStatus
		want   string
	}{
		{ledger.ClockStatus{Known: true, Trusted: true}, "It follows the boards' clocks.\n\n"},
		{ledger.ClockStatus{Known: true, Trusted: true, Held: "no board's clock is set"}, "An operator has confirmed it"},
		{ledger.ClockStatus{Known: true, MustConfirm: true}, "invitations and webhooks wait until you confirm it"},
		{ledger.ClockStatus{Known: true, Trusted: true, Override: true, Held: "an operator set it"}, "It stands as an operator set it"},
		{ledger.ClockStatus{Known: true, WaitUntil: at}, "wait until 2012-02-29 06:00:00."},
		{ledger.ClockStatus{Held: "no board's clock is set"}, "It is not known yet: no board's clock is set."},
	} {
		text := clockText(ledger.ClockReport{ClockStatus: tt.status})
		if !strings.Contains(text, tt.want) {
			t.Errorf("%+v: %s", tt.status, text)
		}
		for line := range strings.Lines(text) {
			if len([]rune(line)) > 81 {
				t.Errorf("wider than 80 columns: %s", line)
			}
		}
	}
}

func TestDescribeJump(t *testing.T) {
	at := time.Date(2012, 2, 29, 6, 0, 0, 0, time.UTC)
	board := func(ahead time.Duration) ledger.BoardClock {
		return ledger.BoardClock{Heard: true, Set: true, Time: at.Add(ahead)}
	}
	for _, tt := range []struct {
		to     time.Duration
		boards []ledger.BoardClock
		want   string // a part; "": it is done at once
	}{
		{-time.Hour, []ledger.BoardClock{board(0)}, ""},
		{time.Hour, []ledger.BoardClock{board(time.Hour), board(time.Hour), board(0)}, ""},
		{time.Hour, []ledger.BoardClock{board(time.Hour), board(0), board(0)}, "which is later than the clocks of most boards"},
		{time.Hour, []ledger.BoardClock{board(0)}, "forward by 1h0m0s, to 2012-02-29 07:00, which is later than the clocks of most boards"},
		{time.Hour, []ledger.BoardClock{{Heard: true}}, ""},
		{365 * 24 * time.Hour, []ledger.BoardClock{board(365 * 24 * time.Hour)}, "forward by 365d0h, to 2013-02-28 06:00, which is more than 30 days"},
	} {
		got := describeJump(ledger.ClockReport{ClockStatus: ledger.ClockStatus{Time: at}, Boards: tt.boards}, at.Add(tt.to))
		if !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%v: %q, want %q", tt.to, got, tt.want)
		}
	}
}
