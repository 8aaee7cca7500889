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
	"bramble/cluster/purge"
	"bramble/node/certs"
	"bramble/node/console"
)

// Paths on the rack link. The other parts define their own: purge.SyncPath, certs.Path,
// and those of rackcache and the ledger.
const (
	drainPath     = "/v1/drain"
	locatePath    = "/v1/locate"
	formCountPath = "/v1/forms/count"
)

func (b *board) peerRoutes(screen *console.Console) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+purge.SyncPath, b.purger)
	b.rackCache.RegisterRoutes(mux)
	mux.HandleFunc("POST "+drainPath, handleUndoable(b.drainBoard))
	mux.HandleFunc("POST "+locatePath, handleUndoable(b.locateBoard))
	mux.HandleFunc("POST "+failurePath, func(w http.ResponseWriter, r *http.Request) {
		screen.CountFailure(r.URL.Query().Get("client"))
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST "+formCountPath, b.countForm)
	if b.certs != nil {
		mux.Handle(certs.Path, b.certs.Handler())
	}
	b.orders.addRoutes(mux)
	return mux
}

// requestBoard sends another board a request without a body for a path of its peerRoutes.
func (b *board) requestBoard(ctx context.Context, board, method, path string) (*http.Response, error) {
	r, err := http.NewRequest(method, "https://board"+path, nil)
	if err != nil {
		return nil, err
	}
	return b.link.Control(ctx, board, r)
}

// handleUndoable carries out the command of another board's console, or undoes it.
func handleUndoable(do func(undo bool)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		do(r.URL.Query().Get("undo") == "1")
		w.WriteHeader(http.StatusNoContent)
	}
}

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
