package shop

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// everyPage calls f with each page of the default shop, before and after the opening, and
// with each page of a shop with an order book.
func everyPage(t *testing.T, f func(t *testing.T, html string)) {
	s := newShopAt(t, launch(t), opening)
	p := &s.cat.Products[0]
	list := []pageAddress{{page: "home"}, {page: "status"}, {page: "product", product: p}, {page: "order", product: p},
		{page: "order", product: p, country: otherCountry}}
	for _, to := range s.cat.Shipping {
		list = append(list, pageAddress{page: "order", product: p, country: to.Country})
	}
	for _, at := range []time.Time{opening.Add(-24 * time.Hour), opening.Add(-time.Second), opening} {
		for _, a := range list {
			t.Run(a.path()+" "+formatTimestamp(at), func(t *testing.T) {
				html, err := s.renderPage(a, s.readPageState(at))
				if err != nil {
					t.Fatal(err)
				}
				f(t, string(html))
			})
		}
	}
	for _, target := range []string{"/nothing", "DELETE /"} {
		method, path := "GET", target
		if m, p, ok := strings.Cut(target, " "); ok {
			method, path = m, p
		}
		t.Run(target, func(t *testing.T) { f(t, request(s, method, path).Body.String()) })
	}
	for _, page := range orderBookPages(t) {
		t.Run(page.name, func(t *testing.T) { f(t, page.html) })
	}
}

// textOf returns a page's text without markup and style.
func textOf(html string) string {
	_, html, _ = strings.Cut(html, "<main")
	return strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(html, " ")), " ")
}

func TestPagesFitTheInitialWindow(t *testing.T) {
	largest := 0
	everyPage(t, func(t *testing.T, html string) {
		largest = max(largest, len(html))
		if len(html) > maxPageBytes {
			t.Errorf("%d bytes", len(html))
		}
	})
	t.Logf("the largest page has %d bytes", largest)
}

func TestACatalogueTooLongForItsPagesIsRejected(t *testing.T) {
	cat := launch(t)
	for range maxParagraphs {
		cat.Products[0].Description = append(cat.Products[0].Description, strings.Repeat("long ", maxParagraph/5))
	}
	if _, err := New(cat, Options{}); !errors.Is(err, ErrPageTooBig) {
		t.Errorf("got %v", err)
	}
}

// Each page is well-formed and has the landmarks, one h1, and a label for each control.
func TestPagesAreSoundHTML(t *testing.T) {
	count := func(html, pattern string) int { return len(regexp.MustCompile(pattern).FindAllString(html, -1)) }
	text, err := pageFiles.ReadFile("page/token.js")
	if err != nil {
		t.Fatal(err)
	}
	script := strings.TrimSpace(string(text))
	everyPage(t, func(t *testing.T, html string) {
		for _, part := range []string{"<h1", "<header", "<nav", `<main id="main"`, "<footer", `<html lang="en-GB"`, "<title>[^<]", `href="#main"`, `name="viewport"`} {
			if n := count(html, part); n != 1 {
				t.Errorf("%s is there %d times", part, n)
			}
		}
		if scripts := strings.Count(html, "<script>"+script+"</script>"); count(html, "<script|javascript:| style=| on[a-z]+=") > scripts || scripts > 1 {
			t.Error("there is another script or an inline style")
		}
		if count(html, "<img") != count(html, `<img [^>]*alt="[^"]+`) {
			t.Error("a picture has no text")
		}
		for _, m := range regexp.MustCompile(`<(?:select|input|textarea)[^>]* id="([^"]*)"`).FindAllStringSubmatch(html, -1) {
			if count(html, `<label for="`+m[1]+`"`) != 1 {
				t.Errorf("%s has no label", m[1])
			}
		}
		for _, m := range regexp.MustCompile(`aria-labelledby="([^"]*)"`).FindAllStringSubmatch(html, -1) {
			if count(html, ` id="`+m[1]+`"`) != 1 {
				t.Errorf("%s names nothing", m[1])
			}
		}
		// As XML: void elements closed, each attribute with a value.
		html = regexp.MustCompile(`<(meta|link|img|br|input)\b([^>]*)>`).ReplaceAllString(html, "<$1$2/>")
		html = strings.NewReplacer(" selected>", ` selected="">`, "<!DOCTYPE html>", "").Replace(html)
		d := xml.NewDecoder(strings.NewReader(html))
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("not well-formed: %v", err)
			}
		}
	})
}

// luminance and contrast are those of WCAG 2.2.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(strings.TrimPrefix(hex, "#"), 16, 32)
	if err != nil || len(hex) != 7 {
		t.Fatalf("%q is not a colour", hex)
	}
	channel := func(v uint64) float64 {
		c := float64(v&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*channel(n>>16) + 0.7152*channel(n>>8) + 0.0722*channel(n)
}

func TestContrast(t *testing.T) {
	sheet, err := pageFiles.ReadFile("page/style.css")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`:root \{[^}]*\}`).FindAllString(string(sheet), -1)
	if len(blocks) != 2 {
		t.Fatalf("there are %d blocks of colours, want light and dark", len(blocks))
	}
	rules := strings.NewReplacer(blocks[0], "", blocks[1], "").Replace(string(sheet))
	if stray := regexp.MustCompile(`#[0-9a-f]{3,8}\b|rgb|hsl`).FindString(rules); stray != "" {
		t.Errorf("the colour %s is not a named one", stray)
	}
	colours := map[string]string{}
	for i, theme := range []string{"light", "dark"} {
		for _, m := range regexp.MustCompile(`--([a-z]+): (#[0-9a-f]+);`).FindAllStringSubmatch(blocks[i], -1) {
			colours[m[1]] = m[2]
		}
		// Text and what it stands on, as the rules combine them.
		for _, pair := range []string{"ink page", "ink card", "soft page", "soft card", "berry page", "berry card",
			"leaf page", "leaf card", "leaf tint", "page berry", "page ink", "onband band"} {
			text, ground, _ := strings.Cut(pair, " ")
			a, b := luminance(t, colours[text]), luminance(t, colours[ground])
			if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < 4.5 {
				t.Errorf("%s: %s on %s has %.2f to 1", theme, text, ground, ratio)
			}
		}
	}
}

// No text is smaller than 16 pixels: sizes are in rem, and none is under one.
func TestNoSmallText(t *testing.T) {
	sheet, err := pageFiles.ReadFile("page/style.css")
	if err != nil {
		t.Fatal(err)
	}
	sizes := regexp.MustCompile(`font(?:-size)?: (?:clamp\()?([0-9.]+)(rem|em|px|%)`).FindAllStringSubmatch(string(sheet), -1)
	if len(sizes) < 5 {
		t.Fatalf("found only %d sizes", len(sizes))
	}
	for _, m := range sizes {
		if size, err := strconv.ParseFloat(m[1], 64); err != nil || size < 1 || m[2] != "rem" {
			t.Errorf("%s", m[0])
		}
	}
}
