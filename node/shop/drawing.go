package shop

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"bramble/node/orders"
	"bramble/node/orders/draw"
)

func itoa(n int) string { return strconv.Itoa(n) }

// drawView is what the page about a ballot's draw says.
type drawView struct {
	Commitment string
	Wanted     draw.Kind
	Done       bool
	At         time.Time
	Stock      int
	Entries    int
	Winners    int
	Secret     string
	Public     draw.Public
}

// drawView looks at a ballot. The sale says whether it is drawn, and the published file
// gives the rest: the page says nothing that is not in one of them.
func (s *Shop) drawView(o *sale) *drawView {
	info := o.book.Draw
	v := &drawView{Commitment: info.Commitment, Wanted: info.Wanted, Entries: o.Entries}
	if o.State != orders.SaleDrawn || s.desk == nil {
		return v
	}
	if file, ok := s.desk.Draw(o.Slug); ok {
		v.Done = true
		v.At, v.Stock = info.At, int(file.Stock)
		v.Entries, v.Winners = len(file.Entries), len(file.Winners)
		v.Secret, v.Public = file.Secret, file.Public
	}
	return v
}

// drawable is the ballot that the URL names; nil, with the reply sent, if there is none.
func (s *Shop) drawable(w http.ResponseWriter, r *http.Request) *Product {
	if p := s.product(r); p != nil && s.scene(s.now()).of(p).DrawPath != "" {
		return p
	}
	s.notFound(w, r)
	return nil
}

func (s *Shop) serveDraw(w http.ResponseWriter, r *http.Request) {
	if p := s.drawable(w, r); p != nil {
		s.servePage(w, r, address{page: "draw", product: p}, pageTerms(), "shop product:"+p.Slug)
	}
}

// serveDrawJSON gives the file that `bramble draw verify` reads.
func (s *Shop) serveDrawJSON(w http.ResponseWriter, r *http.Request) {
	p := s.drawable(w, r)
	if p == nil || !s.canonical(w, r, address{page: "draw", product: p}.path()+".json") {
		return
	}
	file, ok := s.desk.Draw(p.Slug)
	if !ok {
		s.apologise(w, r, http.StatusNotFound, apology{
			Title: "Nothing has been drawn yet",
			Text:  "The file will be at this address when the draw is done.",
			Back:  address{page: "draw", product: p}.path(),
			To:    "About the draw",
		})
		return
	}
	body, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		s.broken(w, err)
		return
	}
	w.Header().Set("Cache-Control", pageTerms().field(-1))
	w.Header().Set("Surrogate-Key", "shop product:"+p.Slug)
	reply(w, r, "application/json", append(body, '\n'))
}

// drawing says what the draw of a ballot that is over waits for.
func drawing(o *sale) string {
	if o.book.Draw.Public != (draw.Public{}) {
		return "The draw is being made"
	}
	switch o.book.Draw.Wanted {
	case draw.Dice:
		return "The draw waits for the dice"
	case draw.Drand:
		return "The draw waits for a round of drand"
	}
	return "The draw is being made"
}

// Drawing is the same within a sentence.
func (o *sale) Drawing() string { return strings.Replace(drawing(o), "The", "the", 1) }
