package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"bramble/node/console/client"
	"bramble/node/orderservice"
)

const retryWait = 10 * time.Second // bounds the time that "fulfilment retry" waits for the first results

func fulfilmentCommand() command {
	return command{
		name:  "fulfilment",
		args:  "[status | retry]",
		short: "show what waits for webhook and mail, and attempt it again",
		long: `
Show the messages about orders that wait for the webhook's receiver and for the
mail server, as the board that delivers has them: the leader of the ledger.

  status    print both channels, and each job whose last attempt failed
  retry     attempt every waiting job now, after a receiver was fixed, also one
            that has unsubscribed (410 Gone); then print the status

  STATE     off: not configured; ok; paused: the receiver fails, and is tried
            again within 5 minutes; testing: one attempt at a time; stopped: it
            has unsubscribed (410), and is tried once a day
  FAILING   of those that wait: the last attempt failed; it is tried again, from
            1 s to an hour apart
  REFUSED   of those: the receiver rejects the message itself (status 3xx, 4xx)
  DONE      sent by this board since it started
  BOUNCED   mail for which the server rejects the buyer's address; it is not
            tried again`,
		examples: `
  bramble fulfilment
  bramble fulfilment retry
  bramble fulfilment status --json`,
		flags: func(fs *flagSet) runner {
			connect := addConsoleFlags(fs)
			asJSON := fs.Bool("json", false, "print JSON, one line")
			return func(ctx context.Context, w world, args []string) error {
				method := http.MethodGet
				switch {
				case len(args) == 1 && args[0] == "retry":
					method = http.MethodPost
				case len(args) > 1, len(args) == 1 && args[0] != "status":
					return usagef("unknown action %q: it must be status or retry", strings.Join(args, " "))
				}
				return connect(w, func(c *client.Client) error {
					var state orderservice.FulfilmentJSON
					err := c.Shop(ctx, method, "fulfilment", nil, &state)
					if err == nil && method == http.MethodPost {
						state, err = awaitRetry(ctx, c, state)
					}
					if err != nil {
						return err
					}
					if *asJSON {
						return printJSON(w, state)
					}
					printFulfilment(w.out, state)
					return nil
				})
			}
		},
	}
}

// awaitRetry waits until a retry has an effect that the state shows, for at most retryWait.
func awaitRetry(ctx context.Context, c *client.Client, before orderservice.FulfilmentJSON) (orderservice.FulfilmentJSON, error) {
	state := before
	for deadline := time.Now().Add(retryWait); time.Now().Before(deadline); {
		waits := state.Webhook.Configured && state.Webhook.Waiting > 0 || state.Mail.Configured && state.Mail.Waiting > 0
		failedAgain := state.Webhook.FailedAttempts+state.Mail.FailedAttempts > before.Webhook.FailedAttempts+before.Mail.FailedAttempts
		if !waits || failedAgain {
			return state, nil
		}
		pauseFor(ctx, pollInterval)
		state = orderservice.FulfilmentJSON{}
		if err := c.Shop(ctx, http.MethodGet, "fulfilment", nil, &state); err != nil {
			return state, cmp.Or(ctx.Err(), err)
		}
	}
	return state, nil
}

// printFulfilment prints the state in lines of at most 80 columns.
func printFulfilment(out io.Writer, f orderservice.FulfilmentJSON) {
	if f.Board == "" {
		fmt.Fprintln(out, "The board that delivers does not answer, or the ledger has no leader now. These\nare the counts of the board that was asked.")
	} else {
		fmt.Fprintln(out, truncateCell(f.Board, 40)+" delivers.")
	}
	const form = "%-8s %-8s %8s  %-17s %8s %8s %8s %7s\n"
	fmt.Fprintf(out, form, "", "STATE", "WAITING", "OLDEST (UTC)", "FAILING", "REFUSED", "DONE", "BOUNCED")
	type line struct{ job, reference, since, reason string }
	var lines []line
	for i, c := range []orderservice.ChannelJSON{f.Webhook, f.Mail} {
		state := map[string]string{"closed": "ok", "open": "paused", "half_open": "testing", "gone": "stopped"}[string(c.Breaker)]
		if !c.Configured {
			state = "off"
		}
		waiting, oldest := strconv.Itoa(c.Waiting), "-"
		if c.Waiting >= 1000 {
			waiting += "+"
		}
		if !c.Oldest.IsZero() {
			oldest = formatMinute(c.Oldest)
		}
		fmt.Fprintf(out, form, []string{"webhook", "mail"}[i], state, waiting, oldest, strconv.Itoa(c.Failing), strconv.Itoa(c.Refused),
			formatCount(int64(c.Delivered)), formatCount(int64(c.Undeliverable)))
		for _, j := range c.FailingJobs {
			next := j.Next
			if c.NextAttempt.After(next) {
				next = c.NextAttempt
			}
			reason := fmt.Sprintf("%s, attempt %d, next %s", strings.TrimSuffix(string(j.Failure)+", "+j.Detail, ", "), j.Attempts, formatMinute(next))
			lines = append(lines, line{j.Job, j.Reference, formatMinute(j.Since), reason})
		}
		for _, j := range c.UndeliverableJobs {
			lines = append(lines, line{j.Job, j.Reference, formatMinute(j.Since), "could not be delivered: " + j.Detail})
		}
	}
	for _, l := range lines {
		fmt.Fprintf(out, "\n%-14s %s, due since %s UTC\n", l.job, l.reference, l.since)
		fmt.Fprintln(out, "    "+strings.Join(wrapText(l.reason, helpWidth-4), "\n    "))
	}
	notices := f.Notices(time.Now())
	for _, u := range f.Unposted {
		notices = append(notices, u.Describe())
	}
	for _, notice := range notices {
		fmt.Fprintln(out, "\n"+strings.Join(wrapText(notice, helpWidth), "\n"))
	}
}

func formatMinute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }
