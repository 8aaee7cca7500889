package orderservice

import (
	"fmt"
	"strings"
	"time"

	"bramble/node/fulfilment"
)

// stuckAfter is the time that a job may wait before Notices names it, whatever the reason. A
// receiver that restarts is back sooner.
const stuckAfter = 15 * time.Minute

// FulfilmentJSON is the state of fulfilment in the rack.
type FulfilmentJSON struct {
	// Board is the board that delivers and has these figures; "" if none does now. Then
	// the figures are this board's, and only Waiting and Oldest mean something.
	Board string `json:"board"`
	fulfilment.Stats
	// Unposted lists the sales with orders from before their webhook that nobody has sent or posted.
	Unposted []UnpostedJSON `json:"unposted,omitempty"`
}

// ChannelJSON is one channel of FulfilmentJSON.
type ChannelJSON = fulfilment.ChannelStats

// Notices returns what an operator must know about fulfilment, a sentence each.
func (f FulfilmentJSON) Notices(now time.Time) []string {
	var all []string
	for _, c := range []struct {
		fulfilment.ChannelStats
		what, receiver, key string
	}{
		{f.Webhook, "webhook post", "receiver of the webhook", "[webhook] url"},
		{f.Mail, "mail", "mail server", "[mail] server"},
	} {
		waiting := "Waiting: " + countWord(c.Waiting, c.what)
		if !c.Oldest.IsZero() {
			waiting += ", since " + c.Oldest.UTC().Format("2006-01-02 15:04 UTC")
		}
		why := ""
		if c.Failure != fulfilment.NoFailure {
			why = " (" + strings.TrimSuffix(string(c.Failure)+", "+c.Detail, ", ") + ")"
		}
		isLate := c.Waiting > 0 && now.Sub(c.Oldest) >= stuckAfter
		switch {
		case c.Breaker == fulfilment.BreakerGone:
			all = append(all, fmt.Sprintf("The %s has unsubscribed (410 Gone), so it gets one attempt a day. %s. When it accepts orders again, run \"bramble fulfilment retry\".", c.receiver, waiting))
		case f.Board != "" && !c.Configured && c.Waiting > 0:
			all = append(all, fmt.Sprintf("Nothing can be sent, because %s is not set on %s. %s.", c.key, f.Board, waiting))
		case c.Refused > 0:
			all = append(all, fmt.Sprintf("The %s refuses %s%s. Nothing is lost, and it is attempted again, up to an hour apart. \"bramble fulfilment status\" names each.", c.receiver, countWord(c.Refused, c.what), why))
		case isLate:
			all = append(all, fmt.Sprintf("Fulfilment is late%s. %s. \"bramble fulfilment status\" shows more; \"bramble fulfilment retry\" attempts all now.", why, waiting))
		}
		if n := len(c.UndeliverableJobs); n > 0 && now.Sub(c.UndeliverableJobs[n-1].Since) < 24*time.Hour {
			all = append(all, fmt.Sprintf("Mail about %s could not be delivered to the buyer: the mail server rejects the address. \"bramble fulfilment status\" names all.", c.UndeliverableJobs[n-1].Reference))
		}
	}
	return all
}

func countWord(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
