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
	page    string // the template: "home", "status", "product", "order" or "draw"
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
	case a.page == "draw":
		return "/p/" + a.product.Slug + "/draw"
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
	Desk     bool           // the shop takes orders, or will
	News     *Announcement  // the latest; nil if there is none
	Told     []Announcement // all so far, newest first
	Sales    []sale
	Sale     *sale // of a page about a product
	Form     *formView
	Draw     *drawView
	Receipt  *receiptView
	Apology  *apology // of a page that is not what was asked for
}

// apology is the text of a page that is not what was asked for.
type apology struct {
	Title string
	Text  string
	Back  string  // where a button leads; "" = none
	To    string  // what the button says; "" = back to the order page
	Typed []field // what was posted, to be copied
	List  bool    // whether to list the products
}

// field is one field of a posted form.
type field struct {
	Name  string
	Value string
}

// render makes the bytes of a page. They depend on nothing else.
func (s *Shop) render(a address, c *scene) ([]byte, error) {
	v := s.view(c)
	v.Here = a.path()
	switch a.page {
	case "status":
		v.Title = "Status"
	case "product":
		v.Sale = c.of(a.product)
		v.Title = a.product.Name
	case "order":
		o := c.of(a.product)
		return s.renderOrder(c, o, &filling{form: &form{values: map[string]string{"country": a.country}}, takes: o.Takes})
	case "draw":
		v.Sale = c.of(a.product)
		v.Title = "The draw: " + a.product.Name
		v.Draw = s.drawView(v.Sale)
	}
	return s.execute(a.page, v)
}

func (s *Shop) renderApology(a apology, c *scene) ([]byte, error) {
	v := s.view(c)
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
func (s *Shop) view(c *scene) *view {
	v := &view{
		Language: language,
		Style:    s.pages.style,
		Title:    s.cat.Name,
		Shop:     s.cat,
		Desk:     c.desk,
		Told:     c.told,
		Sales:    c.sales,
	}
	if len(v.Told) > 0 {
		v.News = &v.Told[0]
	}
	return v
}
