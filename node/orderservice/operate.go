package orderservice

import (
	"context"
	"errors"
	"fmt"
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

// Operate carries out an operator's command. Its error is a sentence with what to
// do instead.
func (s *Service) Operate(ctx context.Context, o OperatorCommand) (OperatorResult, error) {
	command, err := o.toCommand()
	if err != nil {
		return OperatorResult{}, err
	}
	if c, ok := command.(orders.MakeDraw); ok {
		if !s.clockTrusted() {
			return OperatorResult{}, fmt.Errorf("%w: the ledger's clock is not trusted now, so the ballot may not be over; see \"bramble ledger clock\"", errRefused)
		}
		if err := s.checkRandomness(c); err != nil {
			return OperatorResult{}, fmt.Errorf("%w: %w", errMalformed, err)
		}
	}
	if err := command.Check(); err != nil {
		if field, ok := errors.AsType[*orders.FieldError](err); ok {
			return OperatorResult{}, fmt.Errorf("%w: %s %s", errMalformed, strings.ToLower(field.Field), field.Reason)
		}
		return OperatorResult{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	before := s.saleBefore(ctx, o)
	a, err := s.submitUntilDecided(ctx, command)
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
	}
	result, err := o.resultOf(a)
	if before != nil && err == nil {
		result.Before = before
		if sale, known := s.Sale(before.Product); known {
			after := s.newSaleJSON(sale)
			result.After = &after
		}
	}
	return result, err
}

// saleBefore returns the sale that a command is about as it stands before the command, or
// nil if the command is about no sale. This board first catches up with the others as far
// as freshTimeout allows.
func (s *Service) saleBefore(ctx context.Context, o OperatorCommand) *SaleJSON {
	ctx, cancel := context.WithTimeout(ctx, freshTimeout)
	defer cancel()
	_ = s.barrier.wait(ctx) // without a majority the command fails too
	product := o.Product
	if id, err := orders.ParseID(o.Reference); err == nil && o.Action != "erase" {
		if order, err := s.cfg.Book.Order(id); err == nil {
			product = order.Product
		}
	}
	sale, known := s.Sale(product)
	if !known {
		return nil
	}
	before := s.newSaleJSON(sale)
	return &before
}

// checkRandomness returns the problem with public randomness. The order book refuses
// unsuitable randomness too, but without a reason, and it does not check drand's signature.
func (s *Service) checkRandomness(c orders.MakeDraw) error {
	if sale, ok := s.Sale(c.Product); ok && sale.Draw.PublicKind != draw.None {
		if err := c.Public.Fits(sale.Draw.PublicKind, sale.Closes); err != nil {
			return err
		}
	}
	if err := c.Public.Check(); err != nil {
		return err
	}
	return c.Public.Genuine()
}

// toCommand converts an operator's command to the order book's.
func (o OperatorCommand) toCommand() (orders.Command, error) {
	by := orders.Operation{Operator: o.Operator, OpID: o.OpID}
	var id orders.ID
	if o.Reference != "" {
		var err error
		if id, err = parseReference(o.Reference); err != nil {
			return nil, err
		}
	}
	switch o.Action {
	case "cancel":
		return orders.Cancel{ID: id, By: by, Reason: o.Text}, nil
	case "erase":
		return orders.Erase{Operation: by, ID: id, Email: o.Email}, nil
	case "announce":
		return orders.Announce{Operation: by, Text: o.Text}, nil
	case "stock":
		return orders.Stock{Operation: by, Product: o.Product, Delta: o.Count}, nil
	case "open":
		return orders.OpenSale{Operation: by, Product: o.Product}, nil
	case "close":
		return orders.CloseSale{Operation: by, Product: o.Product}, nil
	case "times":
		c := orders.SetTimes{Operation: by, Product: o.Product}
		if o.Opens != nil {
			c.Opens = *o.Opens
		}
		if o.Closes != nil {
			c.Closes = *o.Closes
		}
		return c, nil
	case "invite":
		c := orders.Invite{Operation: by, Product: o.Product, Count: int(min(max(o.Count, 0), orders.MaxPerCommand+1))}
		if o.Until != nil {
			c.Until = *o.Until
		}
		return c, nil
	case "draw":
		return orders.MakeDraw{Operation: by, Product: o.Product, Public: draw.Public{Kind: draw.Kind(o.Kind), Text: o.Text}}, nil
	}
	return nil, fmt.Errorf("%w: action is one of cancel, erase, announce, stock, open, close, times, invite and draw", errMalformed)
}

// resultOf converts the order book's answer to a sentence, or to an error if it was refused.
func (o OperatorCommand) resultOf(a orders.Answer) (OperatorResult, error) {
	refused := func(format string, args ...any) (OperatorResult, error) {
		return OperatorResult{}, fmt.Errorf("%w: %s", errRefused, fmt.Sprintf(format, args...))
	}
	switch a.Outcome {
	case orders.Done:
		return OperatorResult{Text: o.describeDone(a), Count: a.Count, Remaining: a.Remaining}, nil
	case orders.AlreadyDone:
		return OperatorResult{Text: "Nothing changed: it was already done.", Count: a.Count, Remaining: a.Remaining}, nil
	case orders.NoSuchSale:
		return OperatorResult{}, noSaleError(o.Product)
	case orders.NoOrder:
		return OperatorResult{}, orders.ErrNoOrder
	case orders.TooLate:
		return refused("it is too late for that; \"bramble orders show\" and \"bramble sale list\" show the state")
	case orders.NotOpen:
		return refused("the ballot has not closed yet: it closes at %s", a.Opens.UTC().Format(time.RFC3339))
	case orders.WrongKind:
		return refused("%s is not sold in this way; \"bramble sale list\" shows how", o.Product)
	case orders.Full:
		return refused("a limit of the order book is reached")
	case orders.IDInUse:
		return refused("this op_id was used for another command: draw a new one")
	case orders.NotEnough:
		return refused("only %d units are free; the others are sold or held", a.Remaining)
	case orders.Malformed:
		if o.Action == "times" {
			return OperatorResult{}, fmt.Errorf("%w: a ballot needs both times, and it must close in the future", errMalformed)
		}
		return OperatorResult{}, fmt.Errorf("%w: a value does not suit this sale", errMalformed)
	}
	return refused("%s", a.Outcome)
}

// describeDone returns what a command that was carried out has changed.
func (o OperatorCommand) describeDone(a orders.Answer) string {
	switch o.Action {
	case "stock":
		return fmt.Sprintf("Done. Free units of %s: %d.", o.Product, a.Remaining)
	case "open":
		return fmt.Sprintf("Done. The sale of %s is open.", o.Product)
	case "close":
		return fmt.Sprintf("Done. The sale of %s is closed.", o.Product)
	case "times":
		return fmt.Sprintf("Done. %s: opening time %s, closing time %s.", o.Product, describeTime(o.Opens), describeTime(o.Closes))
	case "cancel":
		return fmt.Sprintf("Done. %s is cancelled.", o.Reference)
	case "announce":
		if o.Text == "" {
			return "Done. The announcements are removed."
		}
		return "Done. Every page of the shop shows it."
	case "draw":
		return fmt.Sprintf("Done. The draw of %s has begun.", o.Product)
	}
	return "Done."
}

// describeTime returns a time as the command gives it.
func describeTime(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "none"
	}
	return t.UTC().Format(time.RFC3339)
}
