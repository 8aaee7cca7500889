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

const language = "en-GB"

// pageAssets are the templates and the shared parts of all pages.
type pageAssets struct {
	templates             *template.Template
	style                 template.CSS
	script                template.JS
	contentSecurityPolicy string // no script and no style but these
	favicon               []byte
}

func loadAssets() (*pageAssets, error) {
	sheet, err := pageFiles.ReadFile("page/style.css")
	if err != nil {
		return nil, fmt.Errorf("the style sheet: %w", err)
	}
	tokenScript, err := pageFiles.ReadFile("page/token.js")
	if err != nil {
		return nil, fmt.Errorf("the script: %w", err)
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
	script := strings.TrimSpace(string(tokenScript))
	return &pageAssets{
		templates: templates,
		style:     template.CSS(style),
		script:    template.JS(script),
		contentSecurityPolicy: "default-src 'none'; img-src 'self'; style-src " + sourceHash(style) + "; script-src " + sourceHash(script) +
			"; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		favicon: favicon,
	}, nil
}

// sourceHash returns the source of a Content-Security-Policy that allows an inline text.
func sourceHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// minifyCSS removes comments, line breaks and needless spaces from the style sheet, because
// every page carries it.
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

// pageAddress identifies a page; it is one-to-one with the page's canonical URL.
type pageAddress struct {
	page    string // the template: "home", "status", "product", "order" or "draw"
	product *Product
	country string // of an order page: a code in the shipping table, otherCountry, or ""
}

// path returns the page's canonical URL, path and query.
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

type templateData struct {
	Language           string
	Style              template.CSS
	Script             template.JS
	Title              string
	CanonicalPath      string
	Shop               *Catalogue
	HasOrderBook       bool           // the shop accepts orders, or will soon
	RefreshSeconds     int            // the browser loads the page again after this time; 0 = never
	LatestAnnouncement *Announcement  // nil if there is none
	Announcements      []Announcement // newest first
	Sales              []productSale
	Sale               *productSale // of a page about a product
	Form               *formData
	Draw               *drawData
	Receipt            *receiptData
	ErrorMessage       *errorMessage // of an error page
}

type errorMessage struct {
	Title        string
	Text         string
	LinkPath     string // where its button leads; "" = no button
	LinkText     string // "" = back to the order page
	ListProducts bool
}

// formValue is one name and value of a posted form.
type formValue struct {
	Name  string
	Value string
}

// renderPage renders a page, which depends on the address and the page state alone.
func (s *Shop) renderPage(a pageAddress, state *pageState) ([]byte, error) {
	data := s.newTemplateData(state)
	data.CanonicalPath = a.path()
	switch a.page {
	case "status":
		data.Title = "Status"
	case "product":
		data.Sale = state.saleOf(a.product)
		data.Title = a.product.Name
	case "order":
		sale := state.saleOf(a.product)
		return s.renderOrder(state, sale, &formContent{form: &form{values: map[string]string{"country": a.country}}, kind: sale.FormKind})
	case "draw":
		data.Sale = state.saleOf(a.product)
		data.Title = "The draw: " + a.product.Name
		data.Draw = s.newDrawData(data.Sale)
	}
	return s.executeTemplate(a.page, data)
}

func (s *Shop) renderErrorPage(message errorMessage, state *pageState) ([]byte, error) {
	data := s.newTemplateData(state)
	data.Title = message.Title
	data.ErrorMessage = &message
	return s.executeTemplate("error", data)
}

func (s *Shop) executeTemplate(page string, data *templateData) ([]byte, error) {
	var b bytes.Buffer
	if err := s.assets.templates.ExecuteTemplate(&b, page, data); err != nil {
		return nil, fmt.Errorf("rendering the page %s: %w", page, err)
	}
	return b.Bytes(), nil
}

func (s *Shop) newTemplateData(state *pageState) *templateData {
	data := &templateData{
		Language:      language,
		Style:         s.assets.style,
		Script:        s.assets.script,
		Title:         s.cat.Name,
		Shop:          s.cat,
		HasOrderBook:  state.hasOrderBook,
		Announcements: state.announcements,
		Sales:         state.sales,
	}
	if len(data.Announcements) > 0 {
		data.LatestAnnouncement = &data.Announcements[0]
	}
	return data
}
