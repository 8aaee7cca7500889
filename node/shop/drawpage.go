package shop

import (
	"net/http"
	"strings"
	"time"

	"bramble/node/orders"
	"bramble/node/orders/draw"
)

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

// newDrawData returns the data of a ballot. Whether it is drawn comes from the sale; the rest
// comes from the published file: the page shows no other data.
func (s *Shop) newDrawData(sale *productSale) *drawData {
	info := sale.book.Draw
	data := &drawData{Commitment: info.Commitment, Method: info.PublicKind, Entries: sale.Entries}
	if sale.State != orders.SaleDrawn || s.orderService == nil {
		return data
	}
	if file, ok := s.orderService.Draw(sale.Slug); ok {
		data.Done = true
		data.At, data.Stock = info.At, int(file.Stock)
		data.Entries, data.Winners = len(file.Entries), len(file.Winners)
		data.Secret, data.Public = file.Secret, file.Public
	}
	return data
}

// ballotFromURL returns the ballot that the URL names. If there is none it sends the reply
// and returns nil.
func (s *Shop) ballotFromURL(w http.ResponseWriter, r *http.Request) *Product {
	if p := s.productFromURL(r); p != nil && s.readPageState(s.now()).saleOf(p).DrawPath != "" {
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

// serveDrawJSON sends the file that `bramble draw verify` reads.
func (s *Shop) serveDrawJSON(w http.ResponseWriter, r *http.Request) {
	p := s.ballotFromURL(w, r)
	if p == nil || !s.requireCanonicalURL(w, r, pageAddress{page: "draw", product: p}.path()+".json") {
		return
	}
	file, ok := s.orderService.Draw(p.Slug)
	if !ok {
		s.sendErrorPage(w, r, http.StatusNotFound, errorMessage{
			Title:    "Nothing has been drawn yet",
			Text:     "The file will be at this address after the draw.",
			LinkPath: pageAddress{page: "draw", product: p}.path(),
			LinkText: "About the draw",
		})
		return
	}
	w.Header().Set("Surrogate-Key", "shop product:"+p.Slug)
	s.sendJSON(w, r, file, pagePolicy().cacheControl(-1))
}

// drawProgress describes what the draw of a closed ballot is waiting for.
func drawProgress(sale *productSale) string {
	switch isGiven := sale.book.Draw.Public != (draw.Public{}); {
	case !isGiven && sale.book.Draw.PublicKind == draw.Dice:
		return "The draw is waiting for the dice"
	case !isGiven && sale.book.Draw.PublicKind == draw.Drand:
		return "The draw is waiting for a round of drand"
	}
	return "The draw is under way"
}

// DrawProgress returns the same for the middle of a sentence.
func (sale *productSale) DrawProgress() string {
	return strings.Replace(drawProgress(sale), "The", "the", 1)
}
