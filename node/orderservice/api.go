package orderservice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"bramble/cluster/ledger"
	"bramble/node/orders"
)

const (
	// maxBody bounds the body of a request, in bytes: the largest has the header of a backup.
	maxBody = 128 << 10
	// defaultPageSize is the number of entries of a page, and the largest that a client can
	// request: some hundred KB, which a board holds in memory.
	defaultPageSize = 200
)

// Handler returns the operators' API. It must be reachable only for people who may control
// the rack: its responses contain names and addresses. prefix is the beginning of its paths
// and ends in a slash.
func (s *Service) Handler(prefix string) http.Handler {
	mux := http.NewServeMux()
	handle := func(method, path string, answer func(*http.Request) (any, error)) {
		mux.HandleFunc(method+" "+prefix+path, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			if v, err := answer(r); err != nil {
				writeError(w, err)
			} else {
				writeJSON(w, http.StatusOK, v)
			}
		})
	}
	handle("GET", "orders", s.listOrders)
	handle("GET", "orders/{reference}", s.showOrder)
	handle("GET", "orders/{reference}/link", s.showLink)
	handle("GET", "person", s.showPerson)
	handle("GET", "sales", s.listSales)
	handle("GET", "sales/{product}", s.showSale)
	handle("GET", "draw/{product}", s.showDraw)
	handle("GET", "audit", s.showAudit)
	handle("GET", "ledger", func(*http.Request) (any, error) { return s.cfg.Ledger.Status(), nil })
	handle("GET", "ledger/clock", func(r *http.Request) (any, error) { return s.readClock(r.Context()) })
	handle("POST", "ledger/clock", func(r *http.Request) (any, error) { return operateJSON(r, s.SetClock) })
	handle("POST", "commands", func(r *http.Request) (any, error) { return operateJSON(r, s.Operate) })
	if operator, ok := s.cfg.Ledger.(LedgerOperator); ok {
		addLedgerRoutes(operator, handle)
		handle("GET", "erasure", func(r *http.Request) (any, error) { return s.readErasure(r.Context(), operator), nil })
	}
	mux.HandleFunc("GET "+prefix+"backup", s.serveBackup)
	handle("GET", "backup/status", s.showBackups)
	handle("GET", "restore", func(*http.Request) (any, error) { return s.newRestoreJSON(), nil })
	handle("POST", "restore", func(r *http.Request) (any, error) { return operateJSON(r, s.restoreStep) })
	handle("PUT", "restore/{op}/{number}", s.putRestoreChunk)
	return mux
}

func operateJSON[C, R any](r *http.Request, operate func(context.Context, C) (R, error)) (any, error) {
	var c C
	in := json.NewDecoder(r.Body)
	in.DisallowUnknownFields()
	if err := in.Decode(&c); err != nil {
		return nil, fmt.Errorf("%w: its JSON cannot be parsed: %w", errMalformed, err)
	}
	return operate(r.Context(), c)
}

// errMalformed: the request is malformed. The error that wraps it has the reason.
var errMalformed = errors.New("the request is not valid")

func writeError(w http.ResponseWriter, err error) {
	status := http.StatusServiceUnavailable
	switch {
	case errors.Is(err, errMalformed):
		status = http.StatusBadRequest
	case errors.Is(err, orders.ErrNoOrder), errors.Is(err, orders.ErrNoSale):
		status = http.StatusNotFound
	case errors.Is(err, errRefused), errors.Is(err, orders.ErrNoDraw):
		status = http.StatusConflict
	}
	writeJSON(w, status, map[string]string{"error": strings.TrimPrefix(err.Error(), "orders: ")})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		status, data = http.StatusInternalServerError, []byte(`{"error":"the response cannot be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(data, '\n')) // an error means that the client has left
}

// awaitBarrier waits until this board has applied everything that was acknowledged anywhere
// before the call: a list must not lack the newest order.
func (s *Service) awaitBarrier(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	switch err := s.cfg.Ledger.Barrier(ctx); {
	case errors.Is(err, ledger.ErrNoMajority), errors.Is(err, context.DeadlineExceeded):
		return &operatorError{"this board cannot find out whether it has all orders: no majority of the order book's boards answered in time. Use another board", err}
	case err != nil:
		return fmt.Errorf("this board cannot find out whether it has all orders: %w; use another board", err)
	}
	return nil
}

// awaitFresh is awaitBarrier unless the client accepts this board's copy as it is.
func (s *Service) awaitFresh(r *http.Request) error {
	if r.URL.Query().Get("stale") != "" {
		return nil
	}
	return s.awaitBarrier(r.Context())
}

func (s *Service) listOrders(r *http.Request) (any, error) {
	q := r.URL.Query()
	filter, err := ParseFilter(q.Get("product"), q.Get("kind"), q.Get("state"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	after, limit, err := pageQuery(q)
	if err != nil {
		return nil, err
	}
	book, stale, err := s.bookFor(r)
	if err != nil {
		return nil, err
	}
	found, next, err := book.Orders(filter, after, limit)
	return OrderPage{Orders: newOrderList(found), Next: next, Stale: stale}, err
}

// ParseFilter returns the filter for a product and the words for a kind and a state of orders; "" is all.
func ParseFilter(product, kind, state string) (f orders.Filter, err error) {
	f.Product = product
	if kind != "" {
		if f.Kind, err = orders.ParseKind(kind); err != nil {
			return f, fmt.Errorf("kind: %w", err)
		}
	}
	if state != "" {
		if f.State, err = orders.ParseOrderState(state); err != nil {
			return f, fmt.Errorf("state: %w", err)
		}
	}
	return f, nil
}

// pageQuery parses the beginning of a page and its number of entries.
func pageQuery(q url.Values) (after uint64, limit int, err error) {
	limit = defaultPageSize
	if text := q.Get("after"); text != "" {
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return 0, 0, fmt.Errorf("%w: after is a number", errMalformed)
		}
	}
	if text := q.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > defaultPageSize {
			return 0, 0, fmt.Errorf("%w: limit is a number from 1 to %d", errMalformed, defaultPageSize)
		}
	}
	return after, limit, nil
}

func (s *Service) showOrder(r *http.Request) (any, error) {
	o, err := s.findOrder(r)
	return NewOrderJSON(o), err
}

func (s *Service) showPerson(r *http.Request) (any, error) {
	book, _, err := s.bookFor(r)
	if err != nil {
		return nil, err
	}
	own, others, err := book.OrdersOfPerson(r.URL.Query().Get("email"))
	if _, isField := errors.AsType[*orders.FieldError](err); isField {
		err = fmt.Errorf("%w: %w", errMalformed, err)
	}
	return OrderPage{Orders: newOrderList(own), Others: newOrderList(others)}, err
}

// findOrder returns the order that a request names.
func (s *Service) findOrder(r *http.Request) (orders.Order, error) {
	id, err := parseReference(r.PathValue("reference"))
	if err != nil {
		return orders.Order{}, err
	}
	book, _, err := s.bookFor(r)
	if err != nil {
		return orders.Order{}, err
	}
	return book.Order(id)
}

// showLink answers with the link of an order's receipt, which opens and cancels the order without a password.
func (s *Service) showLink(r *http.Request) (any, error) {
	o, err := s.findOrder(r)
	return map[string]string{"link": s.cfg.Link(o.ID, s.Sign(o.ID, o.Confirmed))}, err
}

func parseReference(text string) (orders.ID, error) {
	id, err := orders.ParseID(text)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return id, nil
}

func (s *Service) showAudit(r *http.Request) (any, error) {
	after, limit, err := pageQuery(r.URL.Query())
	if err != nil {
		return nil, err
	}
	book, _, err := s.bookFor(r)
	if err != nil {
		return nil, err
	}
	changes, err := book.Audit(after, limit)
	trail := AuditPage{Changes: []AuditJSON{}}
	for _, c := range changes {
		trail.Changes = append(trail.Changes, AuditJSON{Number: c.Number, At: c.At.UTC(), Operator: c.Operator, Action: c.Action, Times: c.Times})
	}
	if len(changes) == limit {
		trail.Next = changes[limit-1].Number
	}
	return trail, err
}
