package desk

import (
	"context"
	"fmt"
	"time"

	"bramble/node/handover"
	"bramble/node/orders"
)

// outbox is the order book as the hand-over sees it.
type outbox struct{ d *Desk }

// Outbox is what is to be sent about papers, and what commits that it was.
func (d *Desk) Outbox() handover.Book { return outbox{d} }

func (o outbox) Outbox(q orders.Queue, now time.Time, after orders.Job, limit int) ([]orders.Job, error) {
	return o.d.cfg.Book.Outbox(q, now, after, limit)
}

func (o outbox) Paper(id orders.ID) (orders.Paper, error) { return o.d.cfg.Book.Paper(id) }

func (o outbox) Handing(ctx context.Context, id orders.ID) error {
	return o.commit(ctx, orders.Handing{ID: id})
}

func (o outbox) Done(ctx context.Context, id orders.ID, what orders.What, how handover.How) error {
	if what == orders.JobWebhook {
		return o.commit(ctx, orders.HandedOver{ID: id, How: string(how)})
	}
	return o.commit(ctx, orders.Mailed{ID: id, What: what})
}

func (o outbox) commit(ctx context.Context, c orders.Command) error {
	ctx, cancel := context.WithTimeout(ctx, choreWait)
	defer cancel()
	a, err := o.d.settle(ctx, c)
	if err != nil {
		return err
	}
	switch a.Outcome {
	case orders.Done, orders.Same:
		return nil
	case orders.TooLate, orders.NoPaper:
		return handover.ErrGone
	}
	return fmt.Errorf("the order book answers %q", a.Outcome)
}
