package desk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"bramble/node/orders"
	"bramble/node/orders/draw"
)

const (
	// maxOrder bounds an operator's order, in bytes of JSON.
	maxOrder = 8 << 10
	// pageOf is how many things one answer lists unless fewer are asked for:
	// some hundred KB, which a board has ready in one piece.
	pageOf = 200
)

// Handler answers operators. It must be reachable only for those who may steer
// the rack: names and addresses are in what it tells. prefix is what its paths
// begin with, with a slash at the end.
func (d *Desk) Handler(prefix string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+prefix+"orders", d.listOrders)
	mux.HandleFunc("GET "+prefix+"orders/{reference}", d.showOrder)
	mux.HandleFunc("GET "+prefix+"sales", d.listSales)
	mux.HandleFunc("GET "+prefix+"draw/{product}", d.showDraw)
	mux.HandleFunc("GET "+prefix+"trail", d.showTrail)
	mux.HandleFunc("GET "+prefix+"ledger", d.showLedger)
	mux.HandleFunc("POST "+prefix+"order", d.takeOrder)
	return mux
}

// errMalformed is what a question that makes no sense becomes, with a sentence.
var errMalformed = errors.New("that cannot be asked")

// fail answers with an error and the status that fits it.
func fail(w http.ResponseWriter, err error) {
	status := http.StatusServiceUnavailable
	switch {
	case errors.Is(err, errMalformed):
		status = http.StatusBadRequest
	case errors.Is(err, orders.ErrNoPaper), errors.Is(err, orders.ErrNoSale), errors.Is(err, orders.ErrNoDraw):
		status = http.StatusNotFound
	case errors.Is(err, errRefused):
		status = http.StatusConflict
	}
	answer(w, status, map[string]string{"error": err.Error()})
}

func answer(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		status, data = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be put into JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(data, '\n')) // who went away hears nothing
}

// upToDate has this board know all that was acknowledged anywhere before the
// question, or an error: a list that lacks the newest order is no list.
func (d *Desk) upToDate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, catchUpWait)
	defer cancel()
	err := d.cfg.Ledger.Barrier(ctx)
	if err != nil {
		return fmt.Errorf("this board cannot tell whether it knows all orders: %w; ask another board, or add stale=1 to read what it has", err)
	}
	return nil
}

func (d *Desk) listOrders(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	filter, after, limit, err := listQuery(q)
	if err == nil && q.Get("stale") == "" {
		err = d.upToDate(r.Context())
	}
	if err != nil {
		fail(w, err)
		return
	}
	found, next, err := d.cfg.Book.Papers(filter, after, limit)
	if err != nil {
		fail(w, err)
		return
	}
	page := Papers{Papers: make([]Paper, 0, len(found)), Next: next}
	for _, p := range found {
		page.Papers = append(page.Papers, Report(p))
	}
	answer(w, http.StatusOK, page)
}

// listQuery reads which papers are asked for.
func listQuery(q url.Values) (f orders.Filter, after uint64, limit int, err error) {
	f.Product = q.Get("product")
	if f.Kind, err = oneOf(q.Get("kind"), orders.KindOrder, orders.KindWaiting); err != nil {
		return f, 0, 0, err
	}
	if f.State, err = oneOf(q.Get("state"), orders.StateOpen, orders.StateForgotten); err != nil {
		return f, 0, 0, err
	}
	after, limit, err = pageQuery(q)
	return f, after, limit, err
}

// oneOf finds the value from first to last that a word stands for; "" is zero.
func oneOf[T interface {
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
	return 0, fmt.Errorf("%w: %q is none of %s", errMalformed, word, strings.Join(words, ", "))
}

// pageQuery reads where a page begins and how long it is.
func pageQuery(q url.Values) (after uint64, limit int, err error) {
	limit = pageOf
	if text := q.Get("after"); text != "" {
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return 0, 0, fmt.Errorf("%w: after is a number", errMalformed)
		}
	}
	if text := q.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > pageOf {
			return 0, 0, fmt.Errorf("%w: limit is a number from 1 to %d", errMalformed, pageOf)
		}
	}
	return after, limit, nil
}

func (d *Desk) showOrder(w http.ResponseWriter, r *http.Request) {
	id, err := reference(r.PathValue("reference"))
	if err != nil {
		fail(w, err)
		return
	}
	p, _, err := d.Paper(r.Context(), id)
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, Report(p))
}

func reference(text string) (orders.ID, error) {
	id, err := orders.ParseID(text)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return id, nil
}

func (d *Desk) listSales(w http.ResponseWriter, r *http.Request) {
	list := []Sale{}
	for _, s := range d.Sales() {
		list = append(list, reportSale(s))
	}
	answer(w, http.StatusOK, list)
}

func (d *Desk) showDraw(w http.ResponseWriter, r *http.Request) {
	f, err := d.cfg.Book.Draw(r.PathValue("product"))
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, f)
}

func (d *Desk) showTrail(w http.ResponseWriter, r *http.Request) {
	after, limit, err := pageQuery(r.URL.Query())
	if err != nil {
		fail(w, err)
		return
	}
	changes, err := d.cfg.Book.Audit(after, limit)
	if err != nil {
		fail(w, err)
		return
	}
	trail := Trail{Changes: []Change{}}
	for _, c := range changes {
		trail.Changes = append(trail.Changes, Change{Number: c.Number, At: c.At.UTC(), Who: c.Who, What: c.What})
	}
	if len(changes) == limit {
		trail.Next = changes[limit-1].Number
	}
	answer(w, http.StatusOK, trail)
}

func (d *Desk) showLedger(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, d.cfg.Ledger.Status())
}

func (d *Desk) takeOrder(w http.ResponseWriter, r *http.Request) {
	var o Order
	in := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder))
	in.DisallowUnknownFields()
	if err := in.Decode(&o); err != nil {
		fail(w, fmt.Errorf("%w: not the JSON wanted here: %w", errMalformed, err))
		return
	}
	out, err := d.Operate(r.Context(), o)
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, out)
}

// errRefused is what the order book's refusal of an operator's order becomes.
var errRefused = errors.New("not done")

// Operate carries out an operator's order. The error says in a sentence what to
// do instead.
func (d *Desk) Operate(ctx context.Context, o Order) (Outcome, error) {
	command, err := o.command()
	if err != nil {
		return Outcome{}, err
	}
	if c, ok := command.(orders.MakeDraw); ok {
		if err := d.fits(c); err != nil {
			return Outcome{}, fmt.Errorf("%w: %w", errMalformed, err)
		}
	}
	if err := command.Check(); err != nil {
		return Outcome{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	a, err := d.settle(ctx, command)
	switch {
	case errors.Is(err, orders.ErrUncertain):
		return Outcome{}, fmt.Errorf("it may have been done, the ledger did not answer in time; give the same order again: %w", err)
	case err != nil:
		return Outcome{}, err
	}
	return o.outcome(a)
}

// fits says what is wrong with public randomness. The order book refuses what
// does not fit too, but cannot say why, and does not check drand's signature.
func (d *Desk) fits(c orders.MakeDraw) error {
	if s, ok := d.Sale(c.Product); ok && s.Draw.Wanted != draw.None {
		if err := c.Public.Fits(s.Draw.Wanted, s.Closes); err != nil {
			return err
		}
	}
	if err := c.Public.Check(); err != nil {
		return err
	}
	return c.Public.Genuine()
}

// command is the order in the order book's words.
func (o Order) command() (orders.Command, error) {
	by := orders.Operation{Who: o.Who, OpID: o.Op}
	var id orders.ID
	if o.Reference != "" {
		var err error
		if id, err = reference(o.Reference); err != nil {
			return nil, err
		}
	}
	switch o.Do {
	case "cancel":
		return orders.Cancel{ID: id, By: by, Reason: o.Text}, nil
	case "forget":
		return orders.Forget{Operation: by, ID: id, Email: o.Email}, nil
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
		c := orders.Invite{Operation: by, Product: o.Product, Count: int(min(max(o.Count, 0), orders.MaxWave+1))}
		if o.Until != nil {
			c.Until = *o.Until
		}
		return c, nil
	case "draw":
		return orders.MakeDraw{Operation: by, Product: o.Product, Public: draw.Public{Kind: draw.Kind(o.Kind), Text: o.Text}}, nil
	}
	return nil, fmt.Errorf("%w: do is one of cancel, forget, announce, stock, open, close, times, invite and draw", errMalformed)
}

// outcome is the order book's answer in words.
func (o Order) outcome(a orders.Answer) (Outcome, error) {
	refused := func(format string, args ...any) (Outcome, error) {
		return Outcome{}, fmt.Errorf("%w: %s", errRefused, fmt.Sprintf(format, args...))
	}
	switch a.Outcome {
	case orders.Done:
		return Outcome{Text: "Done.", Count: a.Count, Left: a.Left}, nil
	case orders.Same:
		return Outcome{Text: "That was so already.", Count: a.Count, Left: a.Left}, nil
	case orders.NoSuchSale:
		return Outcome{}, fmt.Errorf("%w: %q", orders.ErrNoSale, o.Product)
	case orders.NoPaper:
		return Outcome{}, orders.ErrNoPaper
	case orders.TooLate:
		return refused("it is past that; look at its state")
	case orders.NotEnough:
		return refused("only %d units are free, the others are sold or held", a.Left)
	case orders.Malformed:
		return Outcome{}, fmt.Errorf("%w: the order book does not take it", errMalformed)
	}
	return refused("%s", a.Outcome)
}
