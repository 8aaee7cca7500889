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
	"time"

	"bramble/cluster/ledger"
	"bramble/node/orders"
	"bramble/node/orders/draw"
)

const (
	// maxCommandBody bounds an operator's command, in bytes of JSON.
	maxCommandBody = 8 << 10
	// defaultPageSize is the number of entries of a page, and the largest that a client can
	// request: some hundred KB, which a board holds in memory.
	defaultPageSize = 200
)

// Handler returns the operators' API. It must be reachable only for people who may control
// the rack: its responses contain names and addresses. prefix is the beginning of its paths
// and ends in a slash.
func (s *Service) Handler(prefix string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+prefix+"orders", s.listOrders)
	mux.HandleFunc("GET "+prefix+"orders/{reference}", s.showOrder)
	mux.HandleFunc("GET "+prefix+"sales", s.listSales)
	mux.HandleFunc("GET "+prefix+"draw/{product}", s.showDraw)
	mux.HandleFunc("GET "+prefix+"audit", s.showAudit)
	mux.HandleFunc("GET "+prefix+"ledger", s.showLedger)
	mux.HandleFunc("POST "+prefix+"commands", s.postCommand)
	return mux
}

// errMalformed: the request is malformed. The error that wraps it has the reason.
var errMalformed = errors.New("the request is not valid")

// writeError responds with an error and the matching status.
func writeError(w http.ResponseWriter, err error) {
	status := http.StatusServiceUnavailable
	switch {
	case errors.Is(err, errMalformed):
		status = http.StatusBadRequest
	case errors.Is(err, orders.ErrNoOrder), errors.Is(err, orders.ErrNoSale), errors.Is(err, orders.ErrNoDraw):
		status = http.StatusNotFound
	case errors.Is(err, errRefused):
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
	err := s.cfg.Ledger.Barrier(ctx)
	switch {
	case errors.Is(err, ledger.ErrNoMajority), errors.Is(err, context.DeadlineExceeded):
		return &operatorError{"this board cannot find out whether it has all orders: no majority of the order book's boards answered in time. " +
			"Use another board, or add --stale (in the API stale=1) to read this board's copy", err}
	case err != nil:
		return fmt.Errorf("this board cannot find out whether it has all orders: %w; use another board, or add --stale (in the API stale=1) to read this board's copy", err)
	}
	return nil
}

func (s *Service) listOrders(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	filter, after, limit, err := listQuery(q)
	if err == nil && q.Get("stale") == "" {
		err = s.awaitBarrier(r.Context())
	}
	if err != nil {
		writeError(w, err)
		return
	}
	found, next, err := s.cfg.Book.Orders(filter, after, limit)
	if err != nil {
		writeError(w, err)
		return
	}
	page := OrderPage{Orders: make([]OrderJSON, 0, len(found)), Next: next}
	for _, o := range found {
		page.Orders = append(page.Orders, NewOrderJSON(o))
	}
	writeJSON(w, http.StatusOK, page)
}

// listQuery parses the query of a list of orders.
func listQuery(q url.Values) (f orders.Filter, after uint64, limit int, err error) {
	f.Product = q.Get("product")
	if f.Kind, err = parseKind(q.Get("kind")); err != nil {
		return f, 0, 0, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if f.State, err = parseState(q.Get("state")); err != nil {
		return f, 0, 0, fmt.Errorf("%w: %w", errMalformed, err)
	}
	after, limit, err = pageQuery(q)
	return f, after, limit, err
}

// CheckKind returns an error unless word is a kind of order or empty.
func CheckKind(word string) error {
	_, err := parseKind(word)
	return err
}

// CheckState returns an error unless word is a state of an order or empty.
func CheckState(word string) error {
	_, err := parseState(word)
	return err
}

func parseKind(word string) (orders.Kind, error) {
	return parseWord(word, orders.KindOrder, orders.KindWaiting)
}

func parseState(word string) (orders.OrderState, error) {
	return parseWord(word, orders.StateOpen, orders.StateErased)
}

// parseWord returns the value from first to last whose String is word; 0 for "".
func parseWord[T interface {
	~uint8
	fmt.Stringer
}](word string, first, last T) (T, error) {
	if word == "" {
		return 0, nil
	}
	var words []string
	for v := first; v <= last; v++ {
		if v.String() == word {
			return v, nil
		}
		words = append(words, v.String())
	}
	return 0, fmt.Errorf("%q is none of %s", word, strings.Join(words, ", "))
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

func (s *Service) showOrder(w http.ResponseWriter, r *http.Request) {
	id, err := parseReference(r.PathValue("reference"))
	if err != nil {
		writeError(w, err)
		return
	}
	o, _, err := s.Order(r.Context(), id)
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, NewOrderJSON(o))
}

func parseReference(text string) (orders.ID, error) {
	id, err := orders.ParseID(text)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return id, nil
}

func (s *Service) listSales(w http.ResponseWriter, r *http.Request) {
	list := []SaleJSON{}
	for _, sale := range s.Sales() {
		list = append(list, newSaleJSON(sale))
	}
	writeJSON(w, http.StatusOK, list)
}

func (s *Service) showDraw(w http.ResponseWriter, r *http.Request) {
	f, err := s.cfg.Book.Draw(r.PathValue("product"))
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, f)
}

func (s *Service) showAudit(w http.ResponseWriter, r *http.Request) {
	after, limit, err := pageQuery(r.URL.Query())
	if err != nil {
		writeError(w, err)
		return
	}
	changes, err := s.cfg.Book.Audit(after, limit)
	if err != nil {
		writeError(w, err)
		return
	}
	trail := AuditPage{Changes: []AuditJSON{}}
	for _, c := range changes {
		trail.Changes = append(trail.Changes, AuditJSON{Number: c.Number, At: c.At.UTC(), Operator: c.Operator, Action: c.Action})
	}
	if len(changes) == limit {
		trail.Next = changes[limit-1].Number
	}
	writeJSON(w, http.StatusOK, trail)
}

func (s *Service) showLedger(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.cfg.Ledger.Status())
}

func (s *Service) postCommand(w http.ResponseWriter, r *http.Request) {
	var o OperatorCommand
	in := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxCommandBody))
	in.DisallowUnknownFields()
	if err := in.Decode(&o); err != nil {
		writeError(w, fmt.Errorf("%w: its JSON cannot be parsed: %w", errMalformed, err))
		return
	}
	out, err := s.Operate(r.Context(), o)
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, out)
}

// errRefused: the order book refused an operator's command.
var errRefused = errors.New("not done")

// operatorError is an error for an operator: its text is complete, and the cause, which
// has the words of the ledger, is for errors.Is.
type operatorError struct {
	text  string
	cause error
}

func (e *operatorError) Error() string { return e.text }

func (e *operatorError) Unwrap() error { return e.cause }

// Operate carries out an operator's command. Its error is a sentence with what to
// do instead.
func (s *Service) Operate(ctx context.Context, o OperatorCommand) (OperatorResult, error) {
	command, err := o.toCommand()
	if err != nil {
		return OperatorResult{}, err
	}
	if c, ok := command.(orders.MakeDraw); ok {
		if err := s.checkRandomness(c); err != nil {
			return OperatorResult{}, fmt.Errorf("%w: %w", errMalformed, err)
		}
	}
	if err := command.Check(); err != nil {
		if field, ok := errors.AsType[*orders.FieldError](err); ok {
			return OperatorResult{}, fmt.Errorf("%w: %s %s", errMalformed, strings.ToLower(field.Field), field.Reason)
		}
		return OperatorResult{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	a, err := s.submitUntilDecided(ctx, command)
	switch {
	case errors.Is(err, orders.ErrUncertain):
		return OperatorResult{}, fmt.Errorf("it may have been done, but the ledger did not respond in time; send the same command again: %w", err)
	case errors.Is(err, orders.ErrNotCommitted) && errors.Is(err, ledger.ErrNoMajority):
		return OperatorResult{}, &operatorError{"not done: no majority of the order book's boards answered in time. " +
			"\"bramble status\" shows which boards are missing; bring them back, and send the command again", err}
	case errors.Is(err, orders.ErrNotCommitted) && errors.Is(err, ledger.ErrBusy):
		return OperatorResult{}, &operatorError{"not done: the order book is busy; send the command again", err}
	case err != nil:
		return OperatorResult{}, err
	}
	return o.resultOf(a)
}

// checkRandomness returns the problem with public randomness. The order book refuses
// unsuitable randomness too, but without a reason, and it does not check drand's signature.
func (s *Service) checkRandomness(c orders.MakeDraw) error {
	if sale, ok := s.Sale(c.Product); ok && sale.Draw.PublicKind != draw.None {
		if err := c.Public.Fits(sale.Draw.PublicKind, sale.Closes); err != nil {
			return err
		}
	}
	if err := c.Public.Check(); err != nil {
		return err
	}
	return c.Public.Genuine()
}

// toCommand converts an operator's command to the order book's.
func (o OperatorCommand) toCommand() (orders.Command, error) {
	by := orders.Operation{Operator: o.Operator, OpID: o.OpID}
	var id orders.ID
	if o.Reference != "" {
		var err error
		if id, err = parseReference(o.Reference); err != nil {
			return nil, err
		}
	}
	switch o.Action {
	case "cancel":
		return orders.Cancel{ID: id, By: by, Reason: o.Text}, nil
	case "erase":
		return orders.Erase{Operation: by, ID: id, Email: o.Email}, nil
	case "announce":
		return orders.Announce{Operation: by, Text: o.Text}, nil
	case "stock":
		return orders.Stock{Operation: by, Product: o.Product, Delta: o.Count}, nil
	case "open":
		return orders.OpenSale{Operation: by, Product: o.Product}, nil
	case "close":
		return orders.CloseSale{Operation: by, Product: o.Product}, nil
	case "times":
		c := orders.SetTimes{Operation: by, Product: o.Product}
		if o.Opens != nil {
			c.Opens = *o.Opens
		}
		if o.Closes != nil {
			c.Closes = *o.Closes
		}
		return c, nil
	case "invite":
		c := orders.Invite{Operation: by, Product: o.Product, Count: int(min(max(o.Count, 0), orders.MaxPerCommand+1))}
		if o.Until != nil {
			c.Until = *o.Until
		}
		return c, nil
	case "draw":
		return orders.MakeDraw{Operation: by, Product: o.Product, Public: draw.Public{Kind: draw.Kind(o.Kind), Text: o.Text}}, nil
	}
	return nil, fmt.Errorf("%w: action is one of cancel, erase, announce, stock, open, close, times, invite and draw", errMalformed)
}

// resultOf converts the order book's answer to a sentence, or to an error if it was refused.
func (o OperatorCommand) resultOf(a orders.Answer) (OperatorResult, error) {
	refused := func(format string, args ...any) (OperatorResult, error) {
		return OperatorResult{}, fmt.Errorf("%w: %s", errRefused, fmt.Sprintf(format, args...))
	}
	switch a.Outcome {
	case orders.Done:
		return OperatorResult{Text: o.describeDone(a), Count: a.Count, Remaining: a.Remaining}, nil
	case orders.AlreadyDone:
		return OperatorResult{Text: "Nothing changed: it was already done.", Count: a.Count, Remaining: a.Remaining}, nil
	case orders.NoSuchSale:
		return OperatorResult{}, fmt.Errorf("%w: %q; \"bramble sale list\" shows the products", orders.ErrNoSale, o.Product)
	case orders.NoOrder:
		return OperatorResult{}, orders.ErrNoOrder
	case orders.TooLate:
		return refused("it is too late for that; \"bramble orders show\" and \"bramble sale list\" show the state")
	case orders.NotOpen:
		return refused("the ballot has not closed yet: it closes at %s", a.Opens.UTC().Format(time.RFC3339))
	case orders.WrongKind:
		return refused("%s is not sold in this way; \"bramble sale list\" shows how", o.Product)
	case orders.Full:
		return refused("a limit of the order book is reached")
	case orders.IDInUse:
		return refused("this op_id was used for another command: draw a new one")
	case orders.NotEnough:
		return refused("only %d units are free; the others are sold or held", a.Remaining)
	case orders.Malformed:
		if o.Action == "times" {
			return OperatorResult{}, fmt.Errorf("%w: a ballot needs both times, and it must close in the future", errMalformed)
		}
		return OperatorResult{}, fmt.Errorf("%w: a value does not suit this sale", errMalformed)
	}
	return refused("%s", a.Outcome)
}

// describeDone returns what a command that was carried out has changed.
func (o OperatorCommand) describeDone(a orders.Answer) string {
	switch o.Action {
	case "stock":
		return fmt.Sprintf("Done. Free units of %s: %d.", o.Product, a.Remaining)
	case "open":
		return fmt.Sprintf("Done. The sale of %s is open.", o.Product)
	case "close":
		return fmt.Sprintf("Done. The sale of %s is closed.", o.Product)
	case "times":
		return fmt.Sprintf("Done. %s: opening time %s, closing time %s.", o.Product, describeTime(o.Opens), describeTime(o.Closes))
	case "cancel":
		return fmt.Sprintf("Done. %s is cancelled.", o.Reference)
	case "announce":
		if o.Text == "" {
			return "Done. The announcements are removed."
		}
		return "Done. Every page of the shop shows it."
	case "draw":
		return fmt.Sprintf("Done. \"bramble draw show %s\" prints the draw as soon as it is complete.", o.Product)
	}
	return "Done."
}

// describeTime returns a time as the command gives it.
func describeTime(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "none"
	}
	return t.UTC().Format(time.RFC3339)
}
