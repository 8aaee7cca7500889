package orderservice

import (
	"cmp"
	"fmt"
	"strings"

	"bramble/cluster/ledger"
	"bramble/node/orders"
)

// AcceptsOrders reports whether this board accepts orders now, by the rule of the pages.
func (s *Service) AcceptsOrders() bool { return s.Pause() == orders.NotPaused }

// Ready reports whether this board's pages can show what can be ordered. A page that changes
// a moment later makes people reload it.
func (s *Service) Ready() bool { return s.AcceptsOrders() && s.hasOffers() }

// Notices returns the ledger's problems for the operator, a sentence each. board is
// this board's name.
func (s *Service) Notices(board string) []string {
	var notices []string
	add := func(sentence, reason string) {
		if reason != "" {
			notices = append(notices, sentence+reason)
		}
	}
	status := s.cfg.Ledger.Status()
	hasNoLeader := strings.HasPrefix(status.Trouble, ledger.NoLeader)
	isEmpty := hasNoLeader && status.CatchingUp && status.LastEntry == 0              // nothing to recover here
	isDivided := status.Superseded != "" || status.Foreign != "" || status.Kept != "" // a notice below has the way out
	ahead := DescribeAhead(status.Ahead, cmp.Or(status.Superseded, status.Ledger))
	if ahead != "" {
		ahead = ". " + ahead
	}
	switch {
	case !status.Founded:
		add("No orders are accepted yet: ", status.Trouble+".")
	case s.Pause() == orders.NotPaused: // an election is not worth a notice
	case hasNoLeader && isDivided:
	case strings.HasPrefix(status.Trouble, ledger.NoLeader+" reaches"): // another board is led
		add("No orders are accepted on "+board+": ", status.Trouble+".")
	case hasNoLeader && status.Halted != "": // the halt comes first
		notices = append(notices, "Orders are paused: the ledger has no leader. If boards are off, start them.")
	case hasNoLeader:
		notices = append(notices, "Orders are paused: the ledger has "+status.Trouble+".")
	case len(status.OlderPrograms) > 0 && status.Leader == "":
		add("No orders are accepted on "+board+": ", status.Trouble+".")
	case strings.HasPrefix(status.Trouble, ledger.LeaderSilent):
		add("Orders are paused on "+board+": ", status.Trouble+".")
	case status.Trouble != "":
		add("Orders are paused on "+board+" until its card can be written; free space on it, or replace it: ", status.Trouble)
	}
	if r := s.readRestore(); r != nil && status.Superseded == "" {
		notices = append(notices, describeRestore(r))
	}
	if from, at := s.cfg.Book.RestoredFrom(); !from.IsZero() && s.Now().Sub(at) < restoredNotice {
		notices = append(notices, "A backup of "+from.Format("2006-01-02 15:04:05 UTC")+" was restored. "+erasedAreBack+" This notice ends with the next erasure, or 30 days after the restore.")
	}
	if status.CatchingUp && !isEmpty && status.Superseded == "" {
		notices = append(notices, fmt.Sprintf("%s is catching up with the order book, and is not ready until it has: %d entries of the ledger are still to be applied.", board, status.Lag))
	}
	if status.HaltTransient {
		add("The ledger of "+board+" waits, and continues automatically when this has passed: ", status.Halted)
	} else {
		add("The ledger of "+board+" has halted, and a person must look at it: ", status.Halted)
	}
	switch {
	case status.Superseded != "":
		notices = append(notices, fmt.Sprintf("An operator gave the ledger of %s up, so it accepts no orders. To make it set its files aside and join: bramble ledger choose %s%s", board, status.Superseded, ahead))
	case status.Kept == "" && status.Foreign != "":
		notices = append(notices, "The rack has two ledgers, and accepts no orders until one is chosen with bramble ledger choose LEDGER; bramble ledger status lists them. Of another one: "+status.Foreign+ahead)
	case status.Kept == "" && status.Outdated != "":
		notices = append(notices, "Some boards have a ledger that was given up, and take no part until bramble ledger choose "+status.Ledger+": "+status.Outdated+ahead)
	case status.Kept != "":
		keeper, _, _ := strings.Cut(status.Kept, " ")
		notices = append(notices, fmt.Sprintf("Orders are paused, because boards lost files and went on without them: %s. Make %s's log the rack's again: bramble ledger recover %s, which without --accept-loss only says how many entries other boards have that it lacks; then, for the others, bramble ledger choose.", status.Kept, keeper, keeper))
	}
	for _, conflict := range status.NameConflicts {
		add("In the ledger ", conflict+".")
	}
	add("Files of the ledger of "+board+" were set aside, and it began again without them: ", status.Damaged)
	if lost := s.lostReceipt.Load(); lost != nil {
		notices = append(notices, fmt.Sprintf("A buyer has a receipt of this rack, %s, whose order the ledger does not have: an earlier ledger took it.", *lost))
		if ahead == "" {
			notices[len(notices)-1] += " If cards were replaced, bring the old ones back, or restore a backup (bramble restore), before you sell more."
		}
	}
	if status.RulesHeldSeconds > rulesHeldNotice && !hasNoLeader {
		add(fmt.Sprintf("The ledger still works by rules %d although this program knows %d; install the newer program on every board, or take the missing ones out of the rack. These have or may have the older one, or have not been up with the newer one for 10 minutes: ",
			status.Rules, status.MaxRules), strings.Join(status.RulesHeldBy, ", "))
	}
	notices = append(append(notices, clockNotices(board, status.Clock)...), s.drawNotices(board, status.Clock)...)
	return append(s.appendRefused(notices), s.catalogueNotices()...)
}

// DescribeAhead returns what boards have that a ledger lacks, and what to do before it is chosen; "" if nothing.
func DescribeAhead(boards []ledger.AheadBoard, lacking string) string {
	text := ""
	for _, b := range boards {
		if b.Entries > 0 {
			text += fmt.Sprintf("%s has up to %d entries (orders and changes) that ledger %s lacks: they are only in ledger %s. ", b.Board, b.Entries, lacking, b.Ledger)
		}
	}
	if text != "" {
		text += "First save them there (bramble orders export --stale on the board), or choose that ledger instead, which drops what was taken since"
	}
	return text
}

// rulesHeldNotice is the number of seconds after which a rules version that does not rise is worth a
// notice: boards are updated one after the other.
const rulesHeldNotice = 15 * 60

// noteLostReceipt notes that the ledger lacks an order whose receipt is signed. Receipts are
// signed when an order was acknowledged, and no order ever leaves the book: so an earlier
// ledger had it. That is the only trace of orders that a rack of one lost with its card.
func (s *Service) noteLostReceipt(id orders.ID) {
	reference := id.String()
	if s.lostReceipt.CompareAndSwap(nil, &reference) {
		s.cfg.Logger.Error("a buyer has a receipt of this rack whose order the ledger does not have: an earlier ledger took it", "order", reference)
	}
}
