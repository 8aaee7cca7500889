package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"

	"bramble/cluster/ledger"
	"bramble/cluster/link"
)

// Paths of the ledger on the rack link.
const (
	ledgerStreamPath = "/v1/ledger/stream" // GET: a raw connection between two rafts
	ledgerCallPath   = "/v1/ledger/call/"  // POST: a call of the kind that follows
)

// ledgerLink is the rack link as the ledger uses it (ledger.Transport).
type ledgerLink struct{ link *link.Link }

func (l ledgerLink) Stream(ctx context.Context, board string) (net.Conn, error) {
	return l.link.Stream(ctx, board, ledgerStreamPath)
}

func (l ledgerLink) Call(ctx context.Context, board, kind string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://board"+ledgerCallPath+kind, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ledger.ErrNotSent, err)
	}
	// net/http itself must not send a request twice that may have been carried out.
	r.GetBody = nil
	resp, sent, err := l.link.CallLedger(ctx, board, r)
	if err != nil {
		if !sent {
			err = fmt.Errorf("%w: %w", ledger.ErrNotSent, err)
		}
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, ledger.MaxCallBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the ledger of %s: %w", board, err)
	case len(answer) > ledger.MaxCallBytes:
		return nil, fmt.Errorf("the ledger of %s sent a response of more than %d bytes", board, ledger.MaxCallBytes)
	case resp.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("%w: %s has no ledger", ledger.ErrNotSent, board)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the ledger of %s: %s", board, answer)
	}
	return answer, nil
}

// registerLedgerRoutes adds to mux what other boards' ledgers call.
func registerLedgerRoutes(mux *http.ServeMux, l *ledger.Ledger) {
	mux.Handle("GET "+ledgerStreamPath, link.StreamHandler(l.Accept))
	mux.HandleFunc("POST "+ledgerCallPath+"{kind}", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, ledger.MaxCallBytes))
		if err != nil {
			http.Error(w, "reading the call: "+err.Error(), http.StatusBadRequest)
			return
		}
		answer, err := l.HandleCall(r.Context(), link.PeerName(r), r.PathValue("kind"), body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Write(answer) // after an error the calling board retries
	})
}
