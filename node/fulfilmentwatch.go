package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"bramble/node/console"
	"bramble/node/orderservice"
)

const (
	// fulfilmentPath is on the rack link: GET returns a board's state of fulfilment, POST
	// first makes it attempt every waiting job.
	fulfilmentPath = "/v1/fulfilment"
	// watchInterval is the interval at which a board asks the one that delivers for its
	// state, for the notices. The exchange costs some hundred bytes.
	watchInterval = 10 * time.Second
	// watchTimeout bounds one such request.
	watchTimeout = 3 * time.Second
	// maxFulfilmentBytes bounds the reply, whose lists are bounded too.
	maxFulfilmentBytes = 64 << 10
)

// fulfilmentWatch knows the state of fulfilment in the rack, which only the board that
// delivers has: the leader of the ledger.
type fulfilmentWatch struct {
	b    *board
	last atomic.Pointer[orderservice.FulfilmentJSON] // for the notices; nil before the first
}

func (f *fulfilmentWatch) run(ctx context.Context) {
	repeatEvery(ctx, watchInterval, func() {
		state, err := f.callDeliverer(ctx, http.MethodGet)
		if err != nil {
			state = f.readHere("")
		}
		f.last.Store(&state)
	})
}

// readHere returns this board's own figures. deliverer is this board's name if it delivers.
func (f *fulfilmentWatch) readHere(deliverer string) orderservice.FulfilmentJSON {
	return orderservice.FulfilmentJSON{Board: deliverer, Stats: f.b.orders.sender.Stats(), Unposted: f.b.orders.service.Unposted()}
}

// callDeliverer returns the state of the board that delivers. With POST that board first
// attempts every waiting job.
func (f *fulfilmentWatch) callDeliverer(ctx context.Context, method string) (orderservice.FulfilmentJSON, error) {
	var state orderservice.FulfilmentJSON
	leader := f.b.orders.ledger.Status().Leader
	switch leader {
	case "":
		return state, fmt.Errorf("no board delivers now, because the ledger has no leader; \"bramble status\" shows which boards are missing")
	case f.b.cfg.Board.Name:
		if method == http.MethodPost {
			f.b.orders.sender.Retry()
		}
		return f.readHere(leader), nil
	}
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	resp, err := f.b.requestBoard(ctx, leader, method, fulfilmentPath)
	if err != nil {
		return state, fmt.Errorf("%s, which delivers, does not answer: %w", leader, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return state, fmt.Errorf("%s, which delivers, answers with status %d", leader, resp.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxFulfilmentBytes)).Decode(&state); err != nil {
		return state, fmt.Errorf("the state of fulfilment from %s: %w", leader, err)
	}
	return state, nil
}

// ServeHTTP answers another board with this board's state.
func (f *fulfilmentWatch) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		f.b.orders.sender.Retry()
	}
	writeFulfilment(w, http.StatusOK, f.readHere(f.b.cfg.Board.Name))
}

// serveOperator answers an operator with the state of the board that delivers.
func (f *fulfilmentWatch) serveOperator(w http.ResponseWriter, r *http.Request) {
	state, err := f.callDeliverer(r.Context(), r.Method)
	if err != nil && r.Method == http.MethodPost {
		writeFulfilment(w, http.StatusServiceUnavailable, map[string]string{"error": err.Error()})
		return
	}
	if err != nil {
		state = f.readHere("")
	}
	writeFulfilment(w, http.StatusOK, state)
}

func writeFulfilment(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // an error means that the client has left
}

// operatorAPI returns the operators' API; nil if the board takes no orders.
func (b *board) operatorAPI() http.Handler {
	if b.orders == nil {
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+console.ShopPath+"fulfilment", b.orders.watch.serveOperator)
	mux.HandleFunc("POST "+console.ShopPath+"fulfilment", b.orders.watch.serveOperator)
	service := b.orders.service.Handler(console.ShopPath)
	mux.HandleFunc(console.ShopPath, func(w http.ResponseWriter, r *http.Request) {
		service.ServeHTTP(w, r.WithContext(orderservice.WithOperator(r.Context(), console.AccountOf(r.Context()))))
	})
	return mux
}
