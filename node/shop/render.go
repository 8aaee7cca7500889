package shop

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"
)

//go:embed page
var pageFiles embed.FS

// language is that of the pages' own words.
const language = "en-GB"

// pages are the templates, and what they have in common.
type pages struct {
	templates *template.Template
	style     template.CSS
	policy    string // the Content-Security-Policy field: no scripts, this style
	favicon   []byte
}

func loadPages() (*pages, error) {
	sheet, err := pageFiles.ReadFile("page/style.css")
	if err != nil {
		return nil, fmt.Errorf("the style sheet: %w", err)
	}
	favicon, err := builtIn.ReadFile("art/favicon.svg")
	if err != nil {
		return nil, fmt.Errorf("the favicon: %w", err)
	}
	templates, err := template.New("").Funcs(template.FuncMap{
		"sentence": sentence,
		"stamp":    stamp,
		"count":    func(n int) string { return grouped(strconv.Itoa(n)) },
	}).ParseFS(pageFiles, "page/*.html")
	if err != nil {
		return nil, fmt.Errorf("the pages' templates: %w", err)
	}
	style := squeeze(string(sheet))
	sum := sha256.Sum256([]byte(style))
	return &pages{
		templates: templates,
		style:     template.CSS(style),
		policy: "default-src 'none'; img-src 'self'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		favicon: favicon,
	}, nil
}

// squeeze takes comments, line breaks and the spaces that CSS does not need out of the
// style sheet: it travels with every page.
func squeeze(css string) string {
	for {
		before, rest, found := strings.Cut(css, "/*")
		_, after, _ := strings.Cut(rest, "*/")
		css = before + after
		if !found {
			break
		}
	}
	css = strings.Join(strings.Fields(css), " ")
	return strings.NewReplacer(" { ", "{", "{ ", "{", "; } ", "}", ";} ", "}", "} ", "}", "; ", ";", ": ", ":", ", ", ",", " > ", ">").Replace(css)
}

// address names a page. It is one-to-one with the page's canonical URL.
type address struct {
	page    string // the template: "home", "status", "product" or "order"
	product *Product
	country string // of an order page: a code in the shipping table, elsewhere, or ""
}

func (a address) path() string {
	switch {
	case a.page == "home":
		return "/"
	case a.page == "status":
		return "/status"
	case a.page == "product":
		return "/p/" + a.product.Slug
	case a.country == "":
		return "/p/" + a.product.Slug + "/order"
	}
	return "/p/" + a.product.Slug + "/order?country=" + a.country
}

// view is what the templates see.
type view struct {
	Language string
	Style    template.CSS
	Title    string
	Here     string // the page's canonical URL
	Shop     *Catalogue
	News     *Announcement  // the latest; nil if there is none yet
	Told     []Announcement // all so far, newest first
	Sales    []sale
	Sale     *sale    // of a product or order page
	Country  string   // of an order page, as in address
	To       *total   // of an order page for a country that the shop delivers to
	Apology  *apology // of a page that is not what was asked for
}

// sale is a product as it stands at a moment.
type sale struct {
	*Product
	State  State
	Path   string
	Order  string
	Totals []total
}

// total is what one unit costs at the door in one country.
type total struct {
	Shipping
	Total Money
	Path  string // the order page for the country
}

// apology is the text of a page that is not what was asked for.
type apology struct {
	Title string
	Text  string
	Back  string  // the order page; "" = not about an order
	Typed []field // what was posted, to be copied
	List  bool    // whether to list the products
}

// field is one field of a posted form.
type field struct {
	Name  string
	Value string
}

// render makes the bytes of a page at a moment. They depend on nothing else.
func (s *Shop) render(a address, now time.Time) ([]byte, error) {
	v := s.view(now)
	v.Here = a.path()
	v.Title = s.cat.Name
	if a.page == "status" {
		v.Title = "Status"
	}
	if a.product != nil {
		v.Sale = s.sale(a.product, now)
		v.Title = a.product.Name
	}
	if a.page == "order" {
		v.Title = "Order: " + a.product.Name
		v.Country = a.country
		for i, t := range v.Sale.Totals {
			if t.Country == a.country {
				v.To = &v.Sale.Totals[i]
			}
		}
	}
	return s.execute(a.page, v)
}

func (s *Shop) renderApology(a apology, now time.Time) ([]byte, error) {
	v := s.view(now)
	v.Title = a.Title
	v.Apology = &a
	return s.execute("apology", v)
}

func (s *Shop) execute(page string, v *view) ([]byte, error) {
	var b bytes.Buffer
	if err := s.pages.templates.ExecuteTemplate(&b, page, v); err != nil {
		return nil, fmt.Errorf("making the page %s: %w", page, err)
	}
	return b.Bytes(), nil
}

// view is what all pages have in common.
func (s *Shop) view(now time.Time) *view {
	v := &view{
		Language: language,
		Style:    s.pages.style,
		Shop:     s.cat,
		Told:     s.cat.announcedAt(now),
	}
	if len(v.Told) > 0 {
		v.News = &v.Told[0]
	}
	for i := range s.cat.Products {
		v.Sales = append(v.Sales, *s.sale(&s.cat.Products[i], now))
	}
	return v
}

func (s *Shop) sale(p *Product, now time.Time) *sale {
	o := &sale{
		Product: p,
		State:   p.StateAt(now),
		Path:    address{page: "product", product: p}.path(),
		Order:   address{page: "order", product: p}.path(),
	}
	for _, to := range s.cat.Shipping {
		o.Totals = append(o.Totals, total{
			Shipping: to,
			Total:    p.Price.Plus(to.Price),
			Path:     address{page: "order", product: p, country: to.Country}.path(),
		})
	}
	return o
}
