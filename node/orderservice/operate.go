package orderservice

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"bramble/cluster/ledger"
	"bramble/node/orders"
	"bramble/node/orders/draw"
)

// errRefused: the order book refused an operator's command.
var errRefused = errors.New("not done")

// operatorError is an error for an operator: its text is complete, and the cause, which
// has the words of the ledger, is for errors.Is.
type operatorError struct {
	text  string
	cause error
}

func (e *operatorError) Error() string { return e.text }

func (e *operatorError) Unwrap() error { return e.cause }

type operatorKey struct{} // of the operator's account in a context

// WithOperator returns a context for the commands of an account, whose name the audit trail has.
func WithOperator(ctx context.Context, account string) context.Context {
	return context.WithValue(ctx, operatorKey{}, account)
}

// nameOperator returns the operator for the audit trail: the account, and what the command says as a note.
func nameOperator(ctx context.Context, note string) string {
	account, known := ctx.Value(operatorKey{}).(string)
	if !known || note == account { // not known: the command is the program's own
		return note
	}
	if note == "" {
		return account
	}
	// Quoted, so that no note looks like the trail's own words.
	room := orders.MaxOperator - len(account) - len(" ()")
	for note = note[:min(len(note), room)]; len(strconv.Quote(note)) > room; {
		note = strings.ToValidUTF8(note[:len(note)-1], "")
	}
	return account + " (" + strconv.Quote(note) + ")"
}

// Operate carries out an operator's command. Its error is a sentence with what to
// do instead.
func (s *Service) Operate(ctx context.Context, o OperatorCommand) (OperatorResult, error) {
	o.Operator = nameOperator(ctx, o.Operator)
	if o.Action == "revise" {
		return s.reviseOffer(ctx, o)
	}
	if o.Action == "relink" {
		return s.renewLinks(ctx, o)
	}
	command, err := o.toCommand()
	if err != nil {
		return OperatorResult{}, err
	}
	if c, ok := command.(orders.MakeDraw); ok {
		if err := s.awaitTrustedClock(ctx); err != nil {
			return OperatorResult{}, err
		}
		if err := s.checkRandomness(c); err != nil {
			return OperatorResult{}, fmt.Errorf("%w: %w", errMalformed, err)
		}
	}
	return s.submitOperation(ctx, o, command)
}

// submitOperation submits the command of an operator's command, and returns the result.
func (s *Service) submitOperation(ctx context.Context, o OperatorCommand, command orders.Command) (OperatorResult, error) {
	if err := orders.Check(command); err != nil {
		if field, ok := errors.AsType[*orders.FieldError](err); ok {
			return OperatorResult{}, fmt.Errorf("%w: %s %s", errMalformed, strings.ToLower(field.Field), field.Reason)
		}
		return OperatorResult{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	before := s.saleBefore(ctx, o)
	head, _ := s.cfg.Book.QueueHead(o.Product, maxSkippedRead) // an error only costs the list of skipped people
	limited, cancel := s.limitInPause(ctx)
	defer cancel()
	a, err := s.submitUntilDecided(limited, command)
	switch {
	case errors.Is(err, orders.ErrUncertain):
		return OperatorResult{}, fmt.Errorf("it may have been done, but the ledger did not respond in time: \"bramble orders audit\" shows whether it was; a program may send it again with the same op_id: %w", err)
	case errors.Is(err, orders.ErrNotCommitted) && errors.Is(err, ledger.ErrNoMajority):
		return OperatorResult{}, &operatorError{"not done: no majority of the order book's boards answered in time. " +
			"\"bramble status\" shows which boards are missing; bring them back, and send the command again", err}
	case errors.Is(err, orders.ErrNotCommitted) && errors.Is(err, ledger.ErrBusy):
		return OperatorResult{}, &operatorError{"not done: the order book is busy; send the command again", err}
	case err != nil:
		return OperatorResult{}, err
	case a.Outcome == orders.Restoring:
		return OperatorResult{}, s.restoringError()
	}
	s.updateUnposted() // so that its notice ends with the command
	result, err := o.resultOf(a, s.cfg.Book.Rules())
	if o.Action == "invite" && err == nil {
		result.Skipped = s.listSkipped(head, a.Count < int(o.Count) && a.Remaining > 0)
		result.Text += describeSkipped(result.Skipped, a.Remaining)
	}
	if o.Action == "erase" && result.Remaining > 0 {
		result.Waits = s.describeClockWait()
	}
	if o.Action == "times" && errors.Is(err, errMalformed) && before != nil {
		err = s.explainTimes(o, before)
	}
	if before != nil && err == nil {
		result.Before = before
		if sale, known := s.Sale(before.Product); known {
			after := s.newSaleJSON(s.cfg.Book, sale)
			result.After = &after
			if o.Action == "times" {
				result.Text = fmt.Sprintf("Done. %s: opening time %s, closing time %s.", o.Product, formatMoment(sale.Opens), formatMoment(sale.Closes))
				if sale.State == orders.SaleClosed && sale.ClosedByOperator() {
					result.Text += fmt.Sprintf(" An operator closed it, so it stays closed: bramble sale open %s.", o.Product)
				}
			}
		}
	}
	return result, err
}

// maxSkippedRead bounds the people in a queue whom an invitation's result considers.
const maxSkippedRead = 500

// listSkipped returns those of the head of a queue, as it was before an invitation, whom the
// invitation passed over: everybody before the last one invited, or everybody if it went
// through the queue.
func (s *Service) listSkipped(head []orders.Order, whole bool) []SkippedJSON {
	var skipped, pending []SkippedJSON
	for _, before := range head {
		o, err := s.cfg.Book.Order(before.ID)
		switch {
		case err != nil:
		case o.State == orders.StateInvited:
			skipped, pending = append(skipped, pending...), nil
		case o.State == orders.StateOpen:
			pending = append(pending, SkippedJSON{Reference: o.ID.String(), Wants: o.Quantity})
		}
	}
	if whole {
		skipped = append(skipped, pending...)
	}
	return skipped
}

// describeSkipped names some of the people who were passed over.
func describeSkipped(skipped []SkippedJSON, free int) string {
	const named = 10
	if len(skipped) == 0 {
		return ""
	}
	var words []string
	for _, k := range skipped[:min(len(skipped), named)] {
		words = append(words, fmt.Sprintf("%s wants %d", k.Reference, k.Wants))
	}
	if more := len(skipped) - named; more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf(" Passed over, because they want more units than were free: %s. They keep their places. Free now: %d.", strings.Join(words, ", "), free)
}

// saleBefore returns the sale that a command is about as it stands before the command, or
// nil if the command is about no sale. This board first catches up with the others as far
// as freshTimeout allows.
func (s *Service) saleBefore(ctx context.Context, o OperatorCommand) *SaleJSON {
	ctx, cancel := context.WithTimeout(ctx, freshTimeout)
	defer cancel()
	_ = s.barrier.wait(ctx) // without a majority the command fails too
	product := o.Product
	if id, err := orders.ParseID(o.Reference); err == nil {
		if order, err := s.cfg.Book.Order(id); err == nil {
			product = order.Product
		}
	}
	sale, known := s.Sale(product)
	if !known {
		return nil
	}
	before := s.newSaleJSON(s.cfg.Book, sale)
	return &before
}

// checkRandomness returns the problem with public randomness. The order book refuses
// unsuitable randomness too, but without a reason, and it does not check drand's signature.
func (s *Service) checkRandomness(c orders.MakeDraw) error {
	if sale, ok := s.Sale(c.Product); ok && sale.Draw.PublicKind != draw.None {
		if err := sale.CheckPublic(c.Public); err != nil {
			return err
		}
	}
	if err := c.Public.Check(); err != nil {
		return err
	}
	return c.Public.Genuine()
}

func (o OperatorCommand) toCommand() (orders.Command, error) {
	by := orders.Operation{Operator: o.Operator, OpID: o.OpID}
	var id orders.ID
	if o.Reference != "" {
		var err error
		if id, err = parseReference(o.Reference); err != nil {
			return nil, err
		}
	}
	if o.Action == "times" {
		return o.toSetTimes(by)
	}
	invitation := orders.Invite{Operation: by, Product: o.Product, Count: int(min(max(o.Count, 0), orders.MaxPerCommand+1))}
	if o.Until != nil {
		invitation.Until = *o.Until
	}
	command, known := map[string]orders.Command{
		"cancel":   orders.Cancel{ID: id, By: by, Reason: o.Text},
		"erase":    orders.Erase{Operation: by, ID: id, Email: o.Email},
		"announce": orders.Announce{Operation: by, Text: o.Text},
		"stock":    orders.Stock{Operation: by, Product: o.Product, Delta: o.Count},
		"open":     orders.OpenSale{Operation: by, Product: o.Product},
		"close":    orders.CloseSale{Operation: by, Product: o.Product},
		"retire":   orders.RetireSale{Operation: by, Product: o.Product, Undo: o.Undo},
		"fulfil":   orders.HandOver{Operation: by, Product: o.Product},
		"sent":     orders.MarkSent{Operation: by, ID: id, Note: o.Text},
		"return":   orders.ReturnOrder{Operation: by, ID: id, Restock: o.Restock, Reason: o.Text},
		"invite":   invitation,
		"draw":     orders.MakeDraw{Operation: by, Product: o.Product, Public: draw.Public{Kind: draw.Kind(o.Kind), Text: o.Text}},
	}[o.Action]
	if !known {
		return nil, fmt.Errorf("%w: action is one of cancel, erase, sent, return, announce, stock, open, close, times, invite, revise, retire, fulfil, relink and draw", errMalformed)
	}
	return command, nil
}

// restoringError refuses an operator's command during a restore.
func (s *Service) restoringError() error {
	if r := s.cfg.Book.RestoreInProgress(); r != nil {
		return fmt.Errorf("%w: %s", errRefused, describeRestore(r))
	}
	return fmt.Errorf("%w: a restore was in progress; send the command again", errRefused)
}

// explainTimes returns why a sale cannot have the times that the order book refused.
func (s *Service) explainTimes(o OperatorCommand, before *SaleJSON) error {
	opens, closes := before.Opens, before.Closes
	if o.Opens != nil || slices.Contains(o.Clear, "opens") {
		opens = o.Opens
	}
	if o.Closes != nil || slices.Contains(o.Clear, "closes") {
		closes = o.Closes
	}
	isBallot := before.Mode == orders.Ballot.String()
	switch {
	case isBallot && (opens == nil || closes == nil):
		return fmt.Errorf("%w: a ballot needs both times", errMalformed)
	case opens != nil && closes != nil && !closes.After(*opens):
		return fmt.Errorf("%w: the sale would close at %s, and open only at %s: set both with --opens and --closes",
			errMalformed, formatMoment(*closes), formatMoment(*opens))
	case isBallot && !closes.After(s.Now()):
		return fmt.Errorf("%w: a ballot must close in the future, and %s has passed", errMalformed, formatMoment(*closes))
	}
	return fmt.Errorf("%w: these times do not suit this sale", errMalformed)
}

// toSetTimes converts the action times: a time that the command does not have stays as it is.
func (o OperatorCommand) toSetTimes(by orders.Operation) (orders.Command, error) {
	c := orders.SetTimes{Operation: by, Product: o.Product, KeepOpens: true, KeepCloses: true}
	if o.Opens != nil {
		c.Opens, c.KeepOpens = *o.Opens, false
	}
	if o.Closes != nil {
		c.Closes, c.KeepCloses = *o.Closes, false
	}
	for _, name := range o.Clear {
		switch {
		case name == "opens" && o.Opens == nil:
			c.KeepOpens = false
		case name == "closes" && o.Closes == nil:
			c.KeepCloses = false
		default:
			return nil, fmt.Errorf("%w: clear lists opens or closes, and not a time that is also set", errMalformed)
		}
	}
	if c.KeepOpens && c.KeepCloses {
		return nil, fmt.Errorf("%w: times needs opens or closes, or one of them in clear", errMalformed)
	}
	return c, nil
}

// reviseOffer takes over what this board's catalogue has changed since a product was first
// offered. With DryRun it only lists the differences.
func (s *Service) reviseOffer(ctx context.Context, o OperatorCommand) (OperatorResult, error) {
	before := s.saleBefore(ctx, o)
	if before == nil {
		return OperatorResult{}, noSaleError(o.Product)
	}
	offer, known := s.findOffer(o.Product)
	if !known {
		return OperatorResult{}, fmt.Errorf("%w: the catalogue of this board has no product %q", errRefused, o.Product)
	}
	sale, _ := s.Sale(o.Product)
	list, revise := s.compareOffer(sale, offer)
	result := OperatorResult{Differences: list}
	switch {
	case revise == 0:
		result.Text = "Nothing changed: the sale has every value of this board's files that revise can take over."
		return result, nil
	case o.DryRun:
		result.Text = fmt.Sprintf("Nothing changed (dry run). \"bramble sale revise %s\" takes over the values marked with revise.", o.Product)
		return result, nil
	}
	revision := orders.RevisionFor(&offer, revise)
	revision.Operation = orders.Operation{Operator: o.Operator, OpID: o.OpID}
	done, err := s.submitOperation(ctx, o, revision)
	done.Differences = list
	return done, err
}

// resultOf converts the order book's answer to a sentence, or to an error if it was refused.
// rules is the version of the rules that are in force.
func (o OperatorCommand) resultOf(a orders.Answer, rules uint32) (OperatorResult, error) {
	refused := func(format string, args ...any) (OperatorResult, error) {
		return OperatorResult{}, fmt.Errorf("%w: %s", errRefused, fmt.Sprintf(format, args...))
	}
	switch a.Outcome {
	case orders.Done:
		return OperatorResult{Text: o.describeDone(a), Count: a.Count, Remaining: a.Remaining}, nil
	case orders.AlreadyDone:
		if o.Action == "sent" {
			return OperatorResult{Text: o.Reference + " was marked as sent before."}, nil
		}
		return OperatorResult{Text: "Nothing changed: it was already done.", Count: a.Count, Remaining: a.Remaining}, nil
	case orders.NoSuchSale:
		return OperatorResult{}, noSaleError(o.Product)
	case orders.NoOrder:
		return OperatorResult{}, orders.ErrNoOrder
	case orders.TooLate:
		if o.Action == "sent" || o.Action == "return" {
			return refused("%s is not in a state for that; \"bramble orders show %s\" shows it", o.Reference, o.Reference)
		}
		return refused("it is too late for that; \"bramble orders show\" and \"bramble sale list\" show the state")
	case orders.NotOpen:
		if a.State == orders.SaleDrawing {
			return refused("the list of entries is not fixed yet, or it is too early for the round of drand; send the command again in some seconds")
		}
		return refused("the ballot has not closed yet: it closes at %s", a.Opens.UTC().Format(time.RFC3339))
	case orders.WrongKind:
		return refused("%s is not sold in this way; \"bramble sale list\" shows how", o.Product)
	case orders.NoWebhook:
		return refused("%s has no webhook: set url and secret under [webhook] in every board's file, and restart the boards", o.Product)
	case orders.Full:
		if o.Action == "relink" {
			return refused("%d secrets are accepted, and none is dropped unseen: end their links with --revoke", orders.MaxReceiptKeys)
		}
		return refused("a limit of the order book is reached")
	case orders.IDInUse:
		return refused("this op_id was used for another command: draw a new one")
	case orders.NotEnough:
		return refused("only %d units are free; the others are sold or held", a.Remaining)
	case orders.NotClosed:
		if a.Count > 0 {
			return refused("%d people still wait, hold units or await the draw; close the sale, and cancel or invite them first", a.Count)
		}
		return refused("the sale is not closed: bramble sale close %s", o.Product)
	case orders.Malformed:
		if rules < orders.MaxRules {
			return refused("a board of the rack has an older program, which does not know this command; update all boards first")
		}
		return OperatorResult{}, fmt.Errorf("%w: a value does not suit this sale", errMalformed)
	}
	return refused("%s", a.Outcome)
}

// describeDone returns what a command that was carried out has changed.
func (o OperatorCommand) describeDone(a orders.Answer) string {
	switch {
	case o.Action == "retire" && o.Undo:
		return fmt.Sprintf("Done. The sale of %s is back, and closed.", o.Product)
	case o.Action == "return" && o.Restock:
		return fmt.Sprintf("Done. %s came back, and its units are free again.", o.Reference)
	case o.Action == "invite" && a.Count == 0:
		return "Invited: 0. No unit is free that anybody wants, or nobody waits."
	case o.Action == "announce" && o.Text == "":
		return "Done. The announcements are removed."
	}
	text := map[string]string{
		"stock":    fmt.Sprintf("Done. Free units of %s: %d.", o.Product, a.Remaining),
		"open":     fmt.Sprintf("Done. The sale of %s is open.", o.Product),
		"close":    fmt.Sprintf("Done. The sale of %s is closed.", o.Product),
		"revise":   fmt.Sprintf("Done. New orders of %s have the new values. Orders that were placed keep their price and tax.", o.Product),
		"retire":   fmt.Sprintf("Done. %s is hidden. Its orders and receipts stay.", o.Product),
		"fulfil":   fmt.Sprintf("Done. The orders of %s that were never posted get a post; \"bramble fulfilment\" shows them.", o.Product),
		"sent":     fmt.Sprintf("%s is marked as sent.", o.Reference),
		"return":   fmt.Sprintf("Done. %s came back. Its units are written off: they left the stock.", o.Reference),
		"invite":   fmt.Sprintf("Invited: %d.", a.Count),
		"cancel":   fmt.Sprintf("Done. %s is cancelled.", o.Reference),
		"announce": "Done. Every page of the shop shows it.",
		"draw":     fmt.Sprintf("Done. The draw of %s has begun.", o.Product),
	}[o.Action]
	return cmp.Or(text, "Done.")
}
