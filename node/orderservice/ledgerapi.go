package orderservice

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"bramble/cluster/ledger"
)

// LedgerOperator has an operator's commands about the ledger itself; *ledger.Ledger is one.
type LedgerOperator interface {
	Boards(ctx context.Context) []ledger.BoardStatus
	Found(ctx context.Context) error
	PlanRecovery(ctx context.Context, board string) (ledger.RecoveryPlan, error)
	Recover(ctx context.Context, board string) (ledger.RecoveryPlan, error)
	PlanChoice(ctx context.Context, ledger string) (ledger.ChoicePlan, error)
	Choose(ctx context.Context, ledger string) error
}

// What the ledger reports to an operator, for clients of the API.
type (
	LedgerState    = ledger.Status
	LedgerBoard    = ledger.BoardStatus
	LedgerRecovery = ledger.RecoveryPlan
	LedgerChoice   = ledger.ChoicePlan
	LedgerAhead    = ledger.AheadBoard
)

// LedgerCommand is the body of the requests that found, recover or choose a ledger.
type LedgerCommand struct {
	Board     string `json:"board,omitempty"`     // recover: the board whose copy becomes the rack's
	Confirmed bool   `json:"confirmed,omitempty"` // recover: false only returns the plan; choose: although the ledger lacks entries of other boards
	Ledger    string `json:"ledger,omitempty"`    // choose: 16 hex digits
}

func addLedgerRoutes(operator LedgerOperator, handle func(method, path string, answer func(*http.Request) (any, error))) {
	handle("GET", "ledger/boards", func(r *http.Request) (any, error) { return operator.Boards(r.Context()), nil })
	for path, operate := range map[string]func(ctx context.Context, c LedgerCommand) (any, error){
		"found": func(ctx context.Context, _ LedgerCommand) (any, error) { return struct{}{}, operator.Found(ctx) },
		"choose": func(ctx context.Context, c LedgerCommand) (any, error) {
			p, err := operator.PlanChoice(ctx, c.Ledger)
			if loss := DescribeAhead(p.SetAside, c.Ledger); err == nil && loss != "" && !c.Confirmed {
				return nil, fmt.Errorf("%w: %s. To choose it all the same, add --accept-loss (in the API \"confirmed\": true)", errRefused, loss)
			}
			if err == nil {
				err = operator.Choose(ctx, c.Ledger)
			}
			return p, err
		},
		"recover": func(ctx context.Context, c LedgerCommand) (any, error) {
			if c.Confirmed {
				return operator.Recover(ctx, c.Board)
			}
			return operator.PlanRecovery(ctx, c.Board)
		},
	} {
		handle("POST", "ledger/"+path, func(r *http.Request) (any, error) {
			done, err := operateJSON(r, operate)
			if errors.Is(err, ledger.ErrRefused) {
				err = fmt.Errorf("%w: %w", errRefused, err)
			}
			return done, err
		})
	}
}
