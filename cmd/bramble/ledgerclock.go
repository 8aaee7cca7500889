package main

import (
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
