package orderservice

import (
	"context"
	"fmt"
	"time"

	"bramble/node/fulfilment"
	"bramble/node/orders"
)

// jobStore is the order service as fulfilment uses it.
type jobStore struct{ s *Service }

// Jobs returns the jobs of fulfilment: the messages to send about orders, and the commits
// that record that they were sent.
func (s *Service) Jobs() fulfilment.JobStore { return jobStore{s} }

// Outbox lists what is due by the ledger's clock: this board's own may be wrong.
func (j jobStore) Outbox(q orders.Queue, _ time.Time, after orders.Job, limit int) ([]orders.Job, error) {
	clock := j.s.cfg.Ledger.Status().Clock
	if q == orders.QueueWebhook && (clock.MustConfirm || !clock.WaitUntil.IsZero()) {
		return nil, nil // after a step of the clock, the time in which a buyer can cancel has not passed yet
	}
	return j.s.cfg.Book.Outbox(q, j.s.Now(), after, limit)
}

func (j jobStore) Order(id orders.ID) (orders.Order, error) { return j.s.cfg.Book.Order(id) }

func (j jobStore) BeginFulfilment(ctx context.Context, id orders.ID) error {
	return j.submitJob(ctx, orders.BeginFulfilment{ID: id})
}

func (j jobStore) FinishJob(ctx context.Context, id orders.ID, kind orders.JobKind, how fulfilment.Resolution) error {
	switch {
	case kind == orders.JobWebhook:
		return j.submitJob(ctx, orders.FinishFulfilment{ID: id, How: string(how)})
	case !kind.IsMail():
		return j.submitJob(ctx, orders.FinishWebhook{ID: id, Kind: kind})
	}
	return j.submitJob(ctx, orders.FinishMail{ID: id, Kind: kind})
}

func (j jobStore) submitJob(ctx context.Context, c orders.Command) error {
	ctx, cancel := context.WithTimeout(ctx, taskTimeout)
	defer cancel()
	a, err := j.s.submitUntilDecided(ctx, c)
	if err != nil {
		return err
	}
	switch a.Outcome {
	case orders.Done, orders.AlreadyDone:
		return nil
	case orders.TooLate, orders.NoOrder:
		return fulfilment.ErrGone
	}
	return fmt.Errorf("the order book answers %q", a.Outcome)
}
