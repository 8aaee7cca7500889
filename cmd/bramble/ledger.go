package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"bramble/cluster/ledger"
	"bramble/node/console/client"
	"bramble/node/orderservice"
)

func ledgerCommand() command {
	return command{
		name:  "ledger",
		args:  "[ACTION [BOARD | LEDGER]]",
		short: "show the ledger's boards and clock, and repair it",
		long: `
Show the replicated log under the order book, and set it right:

  status          print each board's part: its server id, which is new with
                  every card, its vote, and what keeps it from working
  clock           print the ledger's clock, each board's own clock, and whether
                  the ledger's is held; --set and --confirm change it
  found           let more than half of the planned boards found a new ledger,
                  though others are missing or lost their files. It begins
                  without orders
  recover BOARD   make one board's copy the rack's, after the cards of half of
                  the voters or more were lost. Without --accept-loss it only
                  prints what may be missing
  choose LEDGER   if the rack has two ledgers: boards of the other one set
                  their files aside as damaged-... and join this one. What
                  only they have is gone from the rack, so that needs
                  --accept-loss, and without it is only printed

Try to bring the boards back first: each of the last three gives something up.

The ledger's clock follows the boards' clocks. If most of them do not agree, it
is held: it counts on, orders are taken, and what cannot be undone waits (draws,
erasures, the end of invitations). If you cannot correct the boards' clocks,
--set sets the ledger's clock, also back. Forward, what cannot be undone waits
up to 10 minutes; after more than 30 days, or later than every board's clock, it
waits for --confirm, a command of its own. After more than 30 days, or later
than the clocks of most boards, --set only prints what it would do without
--accept-jump. A time that the boards do not agree with stands until they do, or
until --follow sets it to theirs. --confirm alone says that the clock is right
as it is. The audit log has who did it.`,
		examples: `
  bramble ledger
  bramble ledger recover board-1
  bramble ledger recover board-1 --accept-loss
  bramble ledger choose 39e528598b046377
  bramble ledger clock
  bramble ledger clock --set now
  bramble ledger clock --set 2012-02-29T06:00:00Z
  bramble ledger clock --confirm
  bramble ledger clock --follow`,
		flags: func(fs *flagSet) runner {
			connect := addConsoleFlags(fs)
			asJSON := fs.Bool("json", false, "status, clock: print JSON instead of text")
			accepted := fs.Bool("accept-loss", false, "recover, choose: do it")
			runClock := addClockFlags(fs, asJSON)
			return func(ctx context.Context, w world, args []string) error {
				if len(args) == 0 {
					args = []string{"status"}
				}
				do, rest, err := fs.chooseAction(args, "status, clock, found, recover or choose",
					map[string]int{"status": 0, "clock": 0, "found": 0, "recover": 1, "choose": 1})
				if err != nil {
					return err
				}
				return connect(w, func(c *client.Client) error {
					switch do {
					case "status":
						return showLedger(ctx, w, c, *asJSON)
					case "clock":
						return runClock(ctx, w, c)
					case "recover":
						return recoverLedger(ctx, w, c, orderservice.LedgerCommand{Board: rest[0], Confirmed: *accepted})
					case "choose":
						return chooseLedger(ctx, w, c, orderservice.LedgerCommand{Ledger: rest[0], Confirmed: *accepted})
					}
					if err := c.Shop(ctx, http.MethodPost, "ledger/found", orderservice.LedgerCommand{}, nil); err != nil {
						return err
					}
					fmt.Fprintln(w.out, "The boards that answer found a new ledger within seconds:\nsee \"bramble ledger status\".")
					return nil
				})
			}
		},
	}
}

// chooseLedger prints which boards set their files aside, and what the ledger lacks of them.
func chooseLedger(ctx context.Context, w world, c *client.Client, command orderservice.LedgerCommand) error {
	var p orderservice.LedgerChoice
	if err := c.Shop(ctx, http.MethodPost, "ledger/choose", command, &p); err != nil {
		return err
	}
	if p.Recovers != "" {
		fmt.Fprintf(w.out, "Ledger %s was given up and has no leader: %s starts again now, as the only\nvoter of a ledger with a new identity and everything that %s has.\n"+
			"Then choose that: \"bramble ledger status\" on %s prints it.\n", command.Ledger, p.Recovers, p.Recovers, p.Recovers)
		return nil
	}
	for _, b := range p.SetAside {
		fmt.Fprintf(w.out, "%s sets ledger %s aside, with up to %d entries that the rack lacks.\n", b.Board, b.Ledger, b.Entries)
	}
	fmt.Fprintln(w.out, "Chosen. Boards of another ledger set their files aside, start again and join.\n"+
		"The files stay in log/damaged-... of its [orders] directory (the last two):\n\"bramble orders export --ledger FOLDER\" reads them.\n"+
		"A board that was off needs the command once more when it is back.")
	return nil
}

// recoverLedger prints the plan of a recovery, and that it was made if it was confirmed.
func recoverLedger(ctx context.Context, w world, c *client.Client, command orderservice.LedgerCommand) error {
	var p orderservice.LedgerRecovery
	if err := c.Shop(ctx, http.MethodPost, "ledger/recover", command, &p); err != nil {
		return err
	}
	fmt.Fprintf(w.out, "Ledger %s, as the card of %s has it: up to entry %d.\n", p.Ledger, p.Board, p.Index)
	fmt.Fprintf(w.out, "Counted out: %s.\n", strings.Join(p.CountedOut, ", "))
	fmt.Fprintf(w.out, "The card proves that the rack had acknowledged everything up to entry %d,\nof %s by the ledger's clock.\n", p.Proven, p.ProvenAt.UTC().Format(time.RFC3339))
	fmt.Fprintf(w.out, "After that entry it has %s, which may or may not have been\nacknowledged. They stay.\n", pluralize(p.Unproven, "command", "commands"))
	fmt.Fprintf(w.out, "In its order book: %s. In its log after that: %s (orders\nand changes). All of these stay.\n", p.Holds, pluralize(p.Waiting, "command", "commands"))
	for i := 1; i < len(p.Ahead); i += 2 {
		fmt.Fprintf(w.out, "The logs went apart. Only %s has up to %d entries (orders and changes), which\nwill be missing. Only %s has up to %d, compared with it.\n",
			p.Ahead[i-1].Board, p.Ahead[i-1].Entries, p.Board, p.Ahead[i].Entries)
	}
	fmt.Fprintln(w.out, "Boards that are off may have later orders. What only they have is lost: if they\ncome back, they take no part, and their files stay readable.")
	if command.Confirmed {
		fmt.Fprintf(w.out, "%s starts again now, as the only voter of a ledger with a new identity.\nBoards with new cards join it by themselves. Boards with an older copy wait for\n\"bramble ledger choose\" with that identity: see \"bramble ledger status\".\n", p.Board)
		return nil
	}
	fmt.Fprintf(w.out, "Nothing was changed. To do it: bramble ledger recover %s --accept-loss\n", p.Board)
	return nil
}

func showLedger(ctx context.Context, w world, c *client.Client, asJSON bool) error {
	var boards []orderservice.LedgerBoard
	if err := c.Shop(ctx, http.MethodGet, "ledger/boards", nil, &boards); err != nil {
		return err
	}
	var s orderservice.LedgerState
	if err := c.Shop(ctx, http.MethodGet, "ledger", nil, &s); err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, struct {
			orderservice.LedgerState
			Boards []orderservice.LedgerBoard `json:"boards"`
		}{s, boards})
	}
	fmt.Fprint(w.out, ledgerTable(s, boards))
	return nil
}

// ledgerTable is the ledger as a table of at most 80 columns.
func ledgerTable(s orderservice.LedgerState, boards []orderservice.LedgerBoard) string {
	var b strings.Builder
	wrap := func(indent, text string) {
		for _, line := range wrapText(text, helpWidth-len(indent)) {
			b.WriteString(indent + line + "\n")
		}
	}
	if s.Founded {
		leader := "no leader"
		if s.Leader != "" {
			leader = "leader " + s.Leader
		}
		wrap("", fmt.Sprintf("Ledger %s, %s, up to entry %d here, applied up to %d.", s.Ledger, leader, s.LastEntry, s.Applied))
	} else {
		b.WriteString("No ledger yet.\n")
	}
	const form = "%-15s %-8s %9s  %s\n"
	fmt.Fprintf(&b, "\n"+form, "BOARD", "ROLE", "ENTRY", "SERVER ID")
	for _, board := range boards {
		role := "follower"
		switch {
		case board.Leading:
			role = "leader"
		case board.Voter:
			role = "voter"
		case board.Ledger == "":
			role = "-"
		}
		fmt.Fprintf(&b, form, truncateCell(board.Board, maxShownName), role, fmt.Sprint(max(board.Last, board.Index)), truncateCell(board.Server, 44))
		trouble := board.Trouble
		if board.Ledger != s.Ledger && board.Ledger != "" {
			trouble = strings.TrimPrefix(trouble+"; it has ledger "+board.Ledger, "; ")
		}
		if trouble != "" {
			wrap("    ", trouble)
		}
	}
	troubles := append([]string{s.Trouble}, s.NameConflicts...)
	switch {
	case s.Superseded != "":
		troubles = append(troubles, "an operator gave this board's ledger up: bramble ledger choose "+s.Superseded)
	case s.Kept != "":
		keeper, _, _ := strings.Cut(s.Kept, " ")
		troubles = append(troubles, s.Kept+": bramble ledger recover "+keeper)
	case s.Foreign != "":
		troubles = append(troubles, "two ledgers: "+s.Foreign+" belong to another one; choose one: bramble ledger choose LEDGER")
	case s.Outdated != "":
		troubles = append(troubles, "given up for this ledger: "+s.Outdated+"; to make them join: bramble ledger choose "+s.Ledger)
	}
	for _, t := range append(troubles, orderservice.DescribeAhead(s.Ahead, cmp.Or(s.Superseded, s.Ledger))) {
		if t != "" {
			b.WriteString("\n")
			wrap("", t+".")
		}
	}
	return b.String()
}

// addClockFlags declares the flags of "ledger clock" and returns the function that runs it.
func addClockFlags(fs *flagSet, asJSON *bool) func(ctx context.Context, w world, c *client.Client) error {
	set := fs.String("set", "", "clock: set the ledger's clock to this `TIME`, such as 2012-02-29T06:00:00Z, or to \"now\", this computer's time")
	confirm := fs.Bool("confirm", false, "clock: confirm that the ledger's clock is right as it is")
	follow := fs.Bool("follow", false, "clock: set the ledger's clock to the time that most boards agree on")
	accepted := fs.Bool("accept-jump", false, "clock: set it, though far forward or later than most boards' clocks")
	operator := operatorFlag(fs)
	return func(ctx context.Context, w world, c *client.Client) error {
		command := orderservice.ClockCommand{Operator: operator(w), OpID: orderservice.NewOpID(), Confirm: *confirm, Follow: *follow}
		switch {
		case *set != "" && (*confirm || *follow) || *confirm && *follow:
			return usagef("give one of --set, --confirm and --follow")
		case *accepted && *set == "":
			return usagef("--accept-jump needs --set")
		case *set == "now":
			now := time.Now().UTC()
			command.Set = &now
		default:
			var err error
			if command.Set, err = parseTime("set", *set); err != nil {
				return err
			}
		}
		var report ledger.ClockReport
		if !command.Confirm && !command.Follow {
			if err := c.Shop(ctx, http.MethodGet, "ledger/clock", nil, &report); err != nil {
				return err
			}
		}
		if command.Set != nil && !*accepted {
			if text := describeJump(report, *command.Set); text != "" {
				return errors.New(text)
			}
		}
		if command.Set == nil && !command.Confirm && !command.Follow {
			if *asJSON {
				return printJSON(w, report)
			}
			fmt.Fprint(w.out, clockText(report))
			return nil
		}
		var result orderservice.ClockResult
		if err := c.Shop(ctx, http.MethodPost, "ledger/clock", command, &result); err != nil {
			return err
		}
		if *asJSON {
			return printJSON(w, result)
		}
		fmt.Fprintf(w.out, "Before:\n%s\nAfter:\n%s", clockText(result.Before), clockText(result.After))
		return nil
	}
}

// describeJump returns what setting the clock would do, and how to do it, if it has to be
// accepted; "" if not.
func describeJump(r ledger.ClockReport, to time.Time) string {
	backing, set := 0, 0
	for _, b := range r.Boards {
		if b.Heard && b.Set {
			set++
			if to.Sub(b.Time) <= ledger.MaxSetDisagreement {
				backing++
			}
		}
	}
	isBacked := set == 0 || 2*backing > set
	forward := to.Sub(r.Time)
	if forward <= ledger.FarStep && (isBacked || forward <= ledger.MaxSetDisagreement) {
		return ""
	}
	reason := "later than the clocks of most boards"
	if isBacked {
		reason = "more than 30 days"
	}
	return fmt.Sprintf("the clock would go from %s forward by %s, to %s, which is %s. Sales would open and close at once; "+
		"draws, erasures, the end of invitations and webhooks would wait for --confirm. Nothing was changed. To do it, add --accept-jump",
		formatMinute(r.Time), strings.TrimPrefix(ledger.FormatClockDifference(forward), "+"), formatMinute(to), reason)
}

// clockText returns the ledger's clock and the boards' clocks, in lines of at most 80
// columns.
func clockText(r ledger.ClockReport) string {
	const layout = "2006-01-02 15:04:05"
	var b strings.Builder
	fmt.Fprintf(&b, "The ledger's clock shows %s UTC.\n", r.Time.UTC().Format(layout))
	line := func(format string, args ...any) {
		b.WriteString(strings.Join(wrapText(fmt.Sprintf(format, args...), 80), "\n") + "\n")
	}
	switch {
	case !r.Known:
		line("It is not known yet: %s.", r.Held)
	case r.Held != "":
		line("It has been held for %v: %s.", (time.Duration(r.HeldFor) * time.Second), r.Held)
	default:
		line("It follows the boards' clocks.")
	}
	switch {
	case r.MustConfirm:
		line("It went forward by more than a month, or further than any board's clock: draws, erasures, the end of invitations and webhooks wait until you confirm it.")
	case !r.WaitUntil.IsZero():
		line("It went forward a short time ago: draws, erasures, the end of invitations and webhooks wait until %s.", r.WaitUntil.UTC().Format(layout))
	case !r.Trusted:
		line("Draws, erasures and the end of invitations wait.")
	case r.Override:
		line("It stands as an operator set it, so nothing waits. --follow ends that.")
	case r.Held != "":
		line("An operator has confirmed it, so nothing waits.")
	}
	fmt.Fprintf(&b, "\n%-24s %-20s %16s %8s\n", "BOARD", "CLOCK (UTC)", "DIFFERENCE", "SERVERS")
	for _, c := range r.Boards {
		shown, difference, servers := c.Time.UTC().Format(layout), ledger.FormatClockDifference(time.Duration(c.Ahead*float64(time.Second))), "-"
		switch {
		case !c.Heard:
			shown, difference = "no answer", "-"
		case !c.Set:
			shown, difference = "not set", "-"
		case c.Servers > 0:
			servers = strconv.Itoa(c.Servers)
		}
		fmt.Fprintf(&b, "%-24s %-20s %16s %8s\n", truncateCell(c.Board, 24), shown, difference, servers)
	}
	return b.String()
}
