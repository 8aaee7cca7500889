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

// pageAssets are the templates, and what they have in common.
type pageAssets struct {
	templates             *template.Template
	style                 template.CSS
	contentSecurityPolicy string // the Content-Security-Policy field: no scripts, this style
	favicon               []byte
}

func loadAssets() (*pageAssets, error) {
	sheet, err := pageFiles.ReadFile("page/style.css")
	if err != nil {
		return nil, fmt.Errorf("the style sheet: %w", err)
	}
	favicon, err := builtIn.ReadFile("art/favicon.svg")
	if err != nil {
		return nil, fmt.Errorf("the favicon: %w", err)
	}
	templates, err := template.New("").Funcs(template.FuncMap{
		"timeText":  formatTime,
		"timestamp": formatTimestamp,
		"count":     func(n int) string { return groupDigits(strconv.Itoa(n)) },
	}).ParseFS(pageFiles, "page/*.html")
	if err != nil {
		return nil, fmt.Errorf("the pages' templates: %w", err)
	}
	style := minifyCSS(string(sheet))
	sum := sha256.Sum256([]byte(style))
	return &pageAssets{
		templates: templates,
		style:     template.CSS(style),
		contentSecurityPolicy: "default-src 'none'; img-src 'self'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		favicon: favicon,
	}, nil
}

// minifyCSS takes comments, line breaks and the spaces that CSS does not need out of the
// style sheet: it travels with every page.
func minifyCSS(css string) string {
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

// pageAddress names a page. It is one-to-one with the page's canonical URL.
type pageAddress struct {
	page    string // the template: "home", "status", "product", "order" or "draw"
	product *Product
	country string // of an order page: a code in the shipping table, elsewhere, or ""
}

func (a pageAddress) path() string {
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

// templateData is what the templates see.
type templateData struct {
	Language           string
	Style              template.CSS
	Title              string
	CanonicalPath      string // the page's canonical URL
	Shop               *Catalogue
	HasOrderBook       bool           // the shop takes orders, or will
	LatestAnnouncement *Announcement  // the latest; nil if there is none
	Announcements      []Announcement // all so far, newest first
	Sales              []productSale
	Sale               *productSale // of a page about a product
	Form               *formData
	Draw               *drawData
	Receipt            *receiptData
	ErrorMessage       *errorMessage // of a page that is not what was asked for
}

// errorMessage is the text of a page that is not what was asked for.
type errorMessage struct {
	Title        string
	Text         string
	LinkPath     string      // where a button leads; "" = none
	LinkText     string      // what the button says; "" = back to the order page
	Typed        []formValue // what was posted, to be copied
	ListProducts bool        // whether to list the products
}

// formValue is one field of a posted form.
type formValue struct {
	Name  string
	Value string
}

// renderPage makes the bytes of a page. They depend on nothing else.
func (s *Shop) renderPage(a pageAddress, c *snapshot) ([]byte, error) {
	v := s.newTemplateData(c)
	v.CanonicalPath = a.path()
	switch a.page {
	case "status":
		v.Title = "Status"
	case "product":
		v.Sale = c.saleOf(a.product)
		v.Title = a.product.Name
	case "order":
		o := c.saleOf(a.product)
		return s.renderOrder(c, o, &formState{form: &form{values: map[string]string{"country": a.country}}, kind: o.FormKind})
	case "draw":
		v.Sale = c.saleOf(a.product)
		v.Title = "The draw: " + a.product.Name
		v.Draw = s.newDrawData(v.Sale)
	}
	return s.executeTemplate(a.page, v)
}

func (s *Shop) renderErrorPage(a errorMessage, c *snapshot) ([]byte, error) {
	v := s.newTemplateData(c)
	v.Title = a.Title
	v.ErrorMessage = &a
	return s.executeTemplate("error", v)
}

func (s *Shop) executeTemplate(page string, v *templateData) ([]byte, error) {
	var b bytes.Buffer
	if err := s.assets.templates.ExecuteTemplate(&b, page, v); err != nil {
		return nil, fmt.Errorf("making the page %s: %w", page, err)
	}
	return b.Bytes(), nil
}

// newTemplateData is what all pages have in common.
func (s *Shop) newTemplateData(c *snapshot) *templateData {
	v := &templateData{
		Language:      language,
		Style:         s.assets.style,
		Title:         s.cat.Name,
		Shop:          s.cat,
		HasOrderBook:  c.hasOrderBook,
		Announcements: c.announcements,
		Sales:         c.sales,
	}
	if len(v.Announcements) > 0 {
		v.LatestAnnouncement = &v.Announcements[0]
	}
	return v
}
