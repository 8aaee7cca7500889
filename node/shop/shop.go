package shop

import (
	"net/http"
	"sync"
	"time"

	"bramble/node/orders"
)

// Options configure a shop, besides its catalogue.
type Options struct {
	// Now is the clock by which sales open; nil means time.Now. The boards of a rack should
	// agree on it to the second, which is the resolution of a page.
	Now func() time.Time
	// Orders accepts the forms, and its clock replaces Now. nil means that the shop accepts
	// no orders.
	Orders OrderService
	Limits SenderLimits // nil: there are none
}

// SenderLimits limit the forms of each client and its network. A SenderLimits is safe for concurrent use.
type SenderLimits interface {
	// AdmitForm counts a form, before its body is read, and reports whether it is within the client's limits; if not,
	// whether its reply may hold what was typed. isMailed: it may cause a mail to an address that its sender chose.
	AdmitForm(r *http.Request, isMailed bool) (admitted, withPage bool)
	// HoldsUnits counts a form that has to be confirmed by mail and reports whether units may be held for it until then.
	HoldsUnits(r *http.Request) bool
	// HashNetwork returns a hash of the client's network, the same on every board: see orders.PlaceOrder.
	HashNetwork(r *http.Request) uint16
	// AdmitAbout counts a form for each thing that it is about, such as a street, and reports whether its client has sent few about that.
	AdmitAbout(r *http.Request, subjects ...string) bool
	// NoteTold counts a form whose answer tells something about somebody else, and HasAsked reports whether those of a
	// client are beyond its limits.
	NoteTold(r *http.Request)
	HasAsked(r *http.Request) bool
}

// Shop is the origin of a catalogue's pages. It is safe for concurrent use.
type Shop struct {
	cat          *Catalogue
	countries    []orders.Country // the catalogue's
	orderService OrderService     // nil if the shop accepts no orders
	limits       SenderLimits     // nil if there are none
	now          func() time.Time
	assets       *pageAssets
	routes       *http.ServeMux
	crossOrigin  *http.CrossOriginProtection
	fieldLimits  map[string]int  // see formFieldLimits
	sharedPaths  map[string]bool // see SharesPage

	mu            sync.Mutex
	cachedVersion string                 // guarded by mu; the page state version of cachedPages
	cachedPages   map[pageAddress][]byte // guarded by mu; at most maxCachedPages
}

// New makes the shop of a catalogue, which must not change afterwards. The error is
// ErrPageTooBig if the catalogue's text does not fit on a page.
func New(cat *Catalogue, opts Options) (*Shop, error) {
	pages, err := loadAssets()
	if err != nil {
		return nil, err
	}
	s := &Shop{
		cat:          cat,
		countries:    cat.orderCountries(),
		orderService: opts.Orders,
		limits:       opts.Limits,
		now:          opts.Now,
		assets:       pages,
		crossOrigin:  http.NewCrossOriginProtection(),
		fieldLimits:  formFieldLimits(),
		sharedPaths:  cat.sharedPaths(),
		cachedPages:  make(map[pageAddress][]byte),
	}
	switch {
	case s.orderService != nil:
		s.now = s.orderService.Now
	case s.now == nil:
		s.now = time.Now
	}
	s.routes = http.NewServeMux()
	s.routes.HandleFunc("/{$}", s.serveHome)
	s.routes.HandleFunc("/p/{slug}", s.serveProduct)
	s.routes.HandleFunc("/p/{slug}/order", s.serveOrder)
	s.routes.HandleFunc("/p/{slug}/place", s.serveOrderForm)
	s.routes.HandleFunc("/p/{slug}/draw", s.serveDraw)
	s.routes.HandleFunc("/p/{slug}/draw.json", s.serveDrawJSON)
	s.routes.HandleFunc("/p/{slug}/verify", s.serveVerifier)
	s.routes.HandleFunc("/r/{id}/{token}", s.serveReceipt)
	s.routes.HandleFunc("/r/{id}/{token}/cancel", s.serveCancel)
	s.routes.HandleFunc("/r/{id}/{token}/confirm", s.serveConfirm)
	s.routes.HandleFunc("/r/{id}/{token}/order", s.serveAcceptance)
	s.routes.HandleFunc("/status", s.serveStatus)
	s.routes.HandleFunc("/status.json", s.serveStatusJSON)
	s.routes.HandleFunc("/pictures/{name}", s.withReadMethod(s.servePicture))
	s.routes.HandleFunc("/favicon.svg", s.withReadMethod(s.serveFavicon))
	s.routes.HandleFunc("/robots.txt", s.withReadMethod(s.serveRobots))
	s.routes.HandleFunc("/", s.notFound)
	if err := s.checkPageSizes(); err != nil {
		return nil, err
	}
	return s, nil
}

// maxCachedPages limits the rendered pages that a shop caches, to less than a megabyte. Further
// pages are rendered for each request: the cache in front stores them.
const maxCachedPages = 64

// ServeHTTP answers every request.
func (s *Shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	// Not no-referrer: with it, browsers send "Origin: null" with the shop's own forms
	// (Fetch, "append a request Origin header"), as if another site had sent them.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Content-Security-Policy", s.assets.contentSecurityPolicy)
	s.routes.ServeHTTP(w, r)
}

func (s *Shop) serveHome(w http.ResponseWriter, r *http.Request) {
	s.servePage(w, r, pageAddress{page: "home"}, pagePolicy(), s.surrogateKeys("shop"))
}

func (s *Shop) serveStatus(w http.ResponseWriter, r *http.Request) {
	s.servePage(w, r, pageAddress{page: "status"}, statusPolicy(), s.surrogateKeys("shop status"))
}

func (s *Shop) serveProduct(w http.ResponseWriter, r *http.Request) {
	p := s.productFromURL(r)
	if p == nil {
		s.notFound(w, r)
		return
	}
	s.servePage(w, r, pageAddress{page: "product", product: p}, pagePolicy(), "shop product:"+p.Slug)
}

// productFromURL returns the product that the URL names; nil if there is none.
func (s *Shop) productFromURL(r *http.Request) *Product {
	return s.cat.findProduct(r.PathValue("slug"))
}

// surrogateKeys adds every product to the surrogate keys of a page that shows them all.
func (s *Shop) surrogateKeys(own string) string {
	for _, p := range s.cat.Products {
		own += " product:" + p.Slug
	}
	return own
}
