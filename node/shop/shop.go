package shop

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Options are what a shop needs besides its catalogue.
type Options struct {
	// Now is the clock that sales open by. nil means time.Now. All boards of a rack
	// should agree on it to the second: that is as exact as a page is.
	Now func() time.Time
}

// Shop is the origin of a catalogue's pages. It is safe for concurrent use.
type Shop struct {
	cat    *Catalogue
	now    func() time.Time
	points []time.Time // see turningPoints
	pages  *pages
	routes *http.ServeMux

	mu   sync.Mutex
	era  int                // guarded by mu; the era that kept is of
	kept map[address][]byte // guarded by mu; at most maxKept pages of that era
}

// New makes the shop of a catalogue, which must not be changed afterwards. The error is
// ErrPageTooBig if the catalogue's text does not fit on a page.
func New(cat *Catalogue, opts Options) (*Shop, error) {
	pages, err := loadPages()
	if err != nil {
		return nil, err
	}
	s := &Shop{
		cat:    cat,
		now:    opts.Now,
		points: cat.turningPoints(),
		pages:  pages,
		kept:   make(map[address][]byte),
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.routes = http.NewServeMux()
	s.routes.HandleFunc("/{$}", s.serveHome)
	s.routes.HandleFunc("/p/{slug}", s.serveProduct)
	s.routes.HandleFunc("/p/{slug}/order", s.serveOrder)
	s.routes.HandleFunc("/status", s.serveStatus)
	s.routes.HandleFunc("/status.json", s.serveStatusJSON)
	s.routes.HandleFunc("/pictures/{name}", s.only(s.servePicture))
	s.routes.HandleFunc("/favicon.svg", s.only(s.serveFavicon))
	s.routes.HandleFunc("/robots.txt", s.only(s.serveRobots))
	s.routes.HandleFunc("/", s.notFound)
	if err := s.measure(); err != nil {
		return nil, err
	}
	return s, nil
}

// MaxPage bounds a page's HTML and CSS together, in bytes before compression. The first
// flight of a new TCP connection is ten segments (RFC 6928), some 14,600 bytes on
// Ethernet; what is left is for the header fields.
const MaxPage = 14_000

// maxKept bounds the rendered pages that a shop keeps for re-use, to less than a megabyte.
// Pages past it are made anew each time: the cache in front is the place for them.
const maxKept = 64

// ErrPageTooBig says that a catalogue's text makes a page larger than MaxPage.
var ErrPageTooBig = errors.New("the page is too big")

// measure renders each kind of page of each product, before and after all that the
// catalogue has in store, so that a shop which starts has pages that fit.
func (s *Shop) measure() error {
	longest := slices.MaxFunc(s.cat.Shipping, func(a, b Shipping) int { return len(a.Name) - len(b.Name) })
	list := []address{{page: "home"}, {page: "status"}}
	for i := range s.cat.Products {
		p := &s.cat.Products[i]
		list = append(list,
			address{page: "product", product: p},
			address{page: "order", product: p},
			address{page: "order", product: p, country: elsewhere},
			address{page: "order", product: p, country: longest.Country})
	}
	last := time.Time{}
	if n := len(s.points); n > 0 {
		last = s.points[n-1]
	}
	for _, a := range list {
		for _, at := range []time.Time{{}, last} {
			page, err := s.render(a, at)
			if err != nil {
				return err
			}
			if len(page) > MaxPage {
				return fmt.Errorf("%w: %s would have %d bytes and at most %d fit: shorten its text or its lists in the catalogue",
					ErrPageTooBig, a.path(), len(page), MaxPage)
			}
		}
	}
	return nil
}

// ServeHTTP answers any request at all.
func (s *Shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", s.pages.policy)
	s.routes.ServeHTTP(w, r)
}

func (s *Shop) serveHome(w http.ResponseWriter, r *http.Request) {
	s.servePage(w, r, address{page: "home"}, pageTerms(), s.tags("shop"))
}

func (s *Shop) serveStatus(w http.ResponseWriter, r *http.Request) {
	s.servePage(w, r, address{page: "status"}, statusTerms(), s.tags("shop status"))
}

func (s *Shop) serveProduct(w http.ResponseWriter, r *http.Request) {
	p := s.product(r)
	if p == nil {
		s.notFound(w, r)
		return
	}
	s.servePage(w, r, address{page: "product", product: p}, pageTerms(), "shop product:"+p.Slug)
}

// product is the one that the URL names; nil if there is none.
func (s *Shop) product(r *http.Request) *Product {
	for i := range s.cat.Products {
		if s.cat.Products[i].Slug == r.PathValue("slug") {
			return &s.cat.Products[i]
		}
	}
	return nil
}

// tags adds every product to the surrogate keys of a page that shows them all.
func (s *Shop) tags(own string) string {
	for _, p := range s.cat.Products {
		own += " product:" + p.Slug
	}
	return own
}
