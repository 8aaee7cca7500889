package shop

import (
	"net/http"
	"strings"
	"time"

	"bramble/node/orders"
	"bramble/node/orders/draw"
)

type drawData struct {
	orders.DrawInfo
	Promised  draw.Promise
	Hash      string // of the promise
	Doubts    []string
	RoundTime time.Time // of the promised round
	Done      bool
	Stock     int
	Entries   int
	Secret    string
}

// newDrawData returns the data of a ballot. The secret comes from the published file.
func (s *Shop) newDrawData(sale *productSale) *drawData {
	file := sale.book.DrawFile()
	data := &drawData{DrawInfo: sale.book.Draw, Promised: file.Promised, Hash: file.PromiseHash(), Doubts: draw.Doubts(file), Entries: sale.Entries}
	data.RoundTime = draw.RoundTime(data.Promised.Round)
	if sale.State != orders.SaleDrawn || s.orderService == nil {
		return data
	}
	if file, ok := s.orderService.Draw(sale.Slug); ok {
		data.Done, data.Stock, data.Secret, data.Entries = true, int(file.Stock), file.Secret, len(file.Entries)
	}
	return data
}

// TrustsOperator reports whether the people who run the rack could choose who wins.
func (sale *productSale) TrustsOperator() bool {
	return sale.DrawPath != "" && sale.book.Draw.PublicKind == draw.None
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
		s.notFound(w, r)
		return
	}
	w.Header().Set("Surrogate-Key", "shop product:"+p.Slug)
	s.sendJSON(w, r, file, pagePolicy().cacheControl(-1))
}

// serveVerifier sends the page that checks a draw's file in the browser. Its policy allows its script, its style and the shop's files.
func (s *Shop) serveVerifier(w http.ResponseWriter, r *http.Request) {
	p := s.ballotFromURL(w, r)
	if p == nil || !s.requireCanonicalURL(w, r, pageAddress{page: "product", product: p}.path()+"/verify") {
		return
	}
	page, err := pageFiles.ReadFile("page/verify.html")
	if err != nil {
		s.sendServerError(w, err)
		return
	}
	inline := func(tag string) string {
		_, text, _ := strings.Cut(string(page), "<"+tag+">")
		text, _, _ = strings.Cut(text, "</"+tag+">")
		return tag + "-src " + sourceHash(text)
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; connect-src 'self'; img-src 'self'; "+inline("script")+"; "+inline("style")+"; form-action 'none'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Surrogate-Key", "shop product:"+p.Slug)
	h.Set("Cache-Control", pagePolicy().cacheControl(-1))
	sendContent(w, r, "text/html; charset=utf-8", page)
}

// drawProgress describes what the draw of a closed ballot is waiting for.
func drawProgress(sale *productSale) string {
	switch isGiven := sale.book.Draw.Public != (draw.Public{}); {
	case sale.book.Draw.Version > 1 && sale.book.Draw.List == "":
		return "The list of entries is being fixed"
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
