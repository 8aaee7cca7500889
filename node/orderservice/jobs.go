package orderservice

import (
	"context"
	"fmt"
	"time"

	"bramble/node/fulfilment"
	"bramble/node/orders"
)

// outbox is the order book as the hand-over sees it.
type outbox struct{ d *Service }

// Outbox is what is to be sent about papers, and what commits that it was.
func (d *Service) Outbox() fulfilment.JobStore { return outbox{d} }

func (o outbox) Outbox(q orders.Queue, now time.Time, after orders.Job, limit int) ([]orders.Job, error) {
	return o.d.cfg.Book.Outbox(q, now, after, limit)
}

func (o outbox) Order(id orders.ID) (orders.Order, error) { return o.d.cfg.Book.Order(id) }

func (o outbox) BeginFulfilment(ctx context.Context, id orders.ID) error {
	return o.submitJob(ctx, orders.BeginFulfilment{ID: id})
}

func (o outbox) FinishJob(ctx context.Context, id orders.ID, what orders.JobKind, how fulfilment.Resolution) error {
	if what == orders.JobWebhook {
		return o.submitJob(ctx, orders.FinishFulfilment{ID: id, How: string(how)})
	}
	return o.submitJob(ctx, orders.FinishMail{ID: id, Kind: what})
}

func (o outbox) submitJob(ctx context.Context, c orders.Command) error {
	ctx, cancel := context.WithTimeout(ctx, taskTimeout)
	defer cancel()
	a, err := o.d.submitUntilDecided(ctx, c)
	if err != nil {
		return err
	}
	switch a.Outcome {
	case orders.Done, orders.Same:
		return nil
	case orders.TooLate, orders.NoOrder:
		return fulfilment.ErrGone
	}
	return fmt.Errorf("the order book answers %q", a.Outcome)
}
