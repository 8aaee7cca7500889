package shop

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"bramble/node/orders"
	"bramble/node/orders/draw"
)

// drawData is what the page about a ballot's draw says.
type drawData struct {
	Commitment string
	Method     draw.Kind
	Done       bool
	At         time.Time
	Stock      int
	Entries    int
	Winners    int
	Secret     string
	Public     draw.Public
}

// newDrawData looks at a ballot. The sale says whether it is drawn, and the published file
// gives the rest: the page says nothing that is not in one of them.
func (s *Shop) newDrawData(o *productSale) *drawData {
	info := o.book.Draw
	v := &drawData{Commitment: info.Commitment, Method: info.PublicKind, Entries: o.Entries}
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

// ballotFromURL is the ballot that the URL names; nil, with the reply sent, if there is none.
func (s *Shop) ballotFromURL(w http.ResponseWriter, r *http.Request) *Product {
	if p := s.productFromURL(r); p != nil && s.takeSnapshot(s.now()).saleOf(p).DrawPath != "" {
		return p
	}
	s.notFound(w, r)
	return nil
}

func (s *Shop) serveDraw(w http.ResponseWriter, r *http.Request) {
	if p := s.ballotFromURL(w, r); p != nil {
		s.servePage(w, r, pageAddress{page: "draw", product: p}, pagePolicy(), "shop product:"+p.Slug)
	}
}

// serveDrawJSON gives the file that `bramble draw verify` reads.
func (s *Shop) serveDrawJSON(w http.ResponseWriter, r *http.Request) {
	p := s.ballotFromURL(w, r)
	if p == nil || !s.requireCanonicalURL(w, r, pageAddress{page: "draw", product: p}.path()+".json") {
		return
	}
	file, ok := s.desk.Draw(p.Slug)
	if !ok {
		s.sendErrorPage(w, r, http.StatusNotFound, errorMessage{
			Title:    "Nothing has been drawn yet",
			Text:     "The file will be at this address when the draw is done.",
			LinkPath: pageAddress{page: "draw", product: p}.path(),
			LinkText: "About the draw",
		})
		return
	}
	body, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		s.sendServerError(w, err)
		return
	}
	w.Header().Set("Cache-Control", pagePolicy().cacheControl(-1))
	w.Header().Set("Surrogate-Key", "shop product:"+p.Slug)
	sendContent(w, r, "application/json", append(body, '\n'))
}

// drawProgress says what the draw of a ballot that is over waits for.
func drawProgress(o *productSale) string {
	if o.book.Draw.Public != (draw.Public{}) {
		return "The draw is under way"
	}
	switch o.book.Draw.PublicKind {
	case draw.Dice:
		return "The draw is waiting for the dice"
	case draw.Drand:
		return "The draw is waiting for a round of drand"
	}
	return "The draw is under way"
}

// DrawProgress is the same within a sentence.
func (o *productSale) DrawProgress() string { return strings.Replace(drawProgress(o), "The", "the", 1) }
