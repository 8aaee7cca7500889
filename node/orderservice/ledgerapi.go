package orderservice

import (
	"context"
	"encoding/json"
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
	Choose(ctx context.Context, ledger string) error
}

// What the ledger reports to an operator, for clients of the API.
type (
	LedgerState    = ledger.Status
	LedgerBoard    = ledger.BoardStatus
	LedgerRecovery = ledger.RecoveryPlan
)

// LedgerCommand is the body of the requests that found, recover or choose a ledger.
type LedgerCommand struct {
	Board     string `json:"board,omitempty"`     // recover: the board whose copy becomes the rack's
	Confirmed bool   `json:"confirmed,omitempty"` // recover: false only returns the plan
	Ledger    string `json:"ledger,omitempty"`    // choose: 16 hex digits
}

// maxLedgerCommand limits the body of such a request, in bytes.
const maxLedgerCommand = 4 << 10

// addLedgerRoutes adds an operator's commands about the ledger to mux.
func (s *Service) addLedgerRoutes(mux *http.ServeMux, prefix string) {
	operator, ok := s.cfg.Ledger.(LedgerOperator)
	if !ok {
		return
	}
	mux.HandleFunc("GET "+prefix+"ledger/boards", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, operator.Boards(r.Context()))
	})
	post := func(path string, do func(ctx context.Context, c LedgerCommand) (any, error)) {
		mux.HandleFunc("POST "+prefix+"ledger/"+path, func(w http.ResponseWriter, r *http.Request) {
			var c LedgerCommand
			if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxLedgerCommand)).Decode(&c); err != nil {
				writeError(w, fmt.Errorf("%w: %w", errMalformed, err))
				return
			}
			done, err := do(r.Context(), c)
			if errors.Is(err, ledger.ErrRefused) {
				err = fmt.Errorf("%w: %w", errRefused, err)
			}
			if err != nil {
				writeError(w, err)
				return
			}
			writeJSON(w, http.StatusOK, done)
		})
	}
	post("found", func(ctx context.Context, _ LedgerCommand) (any, error) { return struct{}{}, operator.Found(ctx) })
	post("choose", func(ctx context.Context, c LedgerCommand) (any, error) {
		return struct{}{}, operator.Choose(ctx, c.Ledger)
	})
	post("recover", func(ctx context.Context, c LedgerCommand) (any, error) {
		if c.Confirmed {
			return operator.Recover(ctx, c.Board)
		}
		return operator.PlanRecovery(ctx, c.Board)
	})
}
