package node

import (
	"context"
	"net/http"

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

// peerRoutes handles everything that other boards may request over the rack link.
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
