package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"bramble/gpio"
)

//go:embed page
var pageFiles embed.FS

// page is the console's page: a template and the files that it loads.
type page struct {
	index  *template.Template
	assets map[string]asset // by file name; never changed
	card   []lampCode
}

type asset struct {
	content []byte
	mime    string
	etag    string
}

// lampCode explains one code of the lamps. Lamp is its pattern for the page's script: a
// level and its milliseconds for each step, "255,500 0,500".
type lampCode struct {
	Lamp, Name, Means string
}

func newPage() (*page, error) {
	p := &page{assets: make(map[string]asset)}
	var err error
	p.index, err = template.New("index.html").Funcs(template.FuncMap{
		"percent": formatPercent, "bytes": formatBytes, "count": formatCount, "faults": func(s []string) string { return strings.Join(s, ", ") },
	}).ParseFS(pageFiles, "page/index.html")
	if err != nil {
		return nil, err
	}
	files, err := fs.ReadDir(pageFiles, "page")
	if err != nil {
		return nil, err
	}
	// The system's own table (package mime) differs from machine to machine.
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	for _, f := range files {
		kind := types[path.Ext(f.Name())]
		if kind == "" {
			continue
		}
		content, err := pageFiles.ReadFile("page/" + f.Name())
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(content)
		p.assets[f.Name()] = asset{content, kind, `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
	}
	for _, scene := range gpio.Scenes() {
		if scene.OnBar {
			continue
		}
		health := gpio.Render(scene.At(0, 0), 0).Health
		var lamp []string
		for _, s := range health.Steps {
			lamp = append(lamp, fmt.Sprintf("%d,%d", s.Level, s.MS))
		}
		p.card = append(p.card, lampCode{strings.Join(lamp, " "), health.Name, scene.Title()})
	}
	return p, nil
}

// serveIndex renders the page with the data of this moment: a browser without
// JavaScript shows a table of the boards, any other starts with correct figures.
func (c *Console) serveIndex(w http.ResponseWriter, r *http.Request) {
	data := struct {
		RackView
		Card []lampCode
	}{c.snapshotFor(r), c.page.card}
	var b bytes.Buffer
	if err := c.page.index.Execute(&b, data); err != nil {
		c.log.Error("console: rendering the page", "error", err)
		http.Error(w, "the page cannot be rendered: see the board's log", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // an error means that the client has gone
}

// serveAsset answers with one of the page's files. Browsers revalidate it each time,
// so that a new version shows at once.
func (c *Console) serveAsset(w http.ResponseWriter, r *http.Request) {
	a := c.page.assets[strings.TrimPrefix(r.URL.Path, "/")]
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", a.etag)
	h.Set("Content-Type", a.mime)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.content))
}

// formatPercent formats a ratio as "12 %", with one decimal below ten.
func formatPercent(ratio float64) string {
	if ratio *= 100; ratio > 0 && ratio < 9.95 {
		return fmt.Sprintf("%.1f %%", ratio)
	}
	return fmt.Sprintf("%.0f %%", ratio)
}

// formatCount formats a figure with one decimal below ten, otherwise without.
func formatCount(n float64) string {
	if n > 0 && n < 9.95 {
		return fmt.Sprintf("%.1f", n)
	}
	return fmt.Sprintf("%.0f", n)
}

// formatBytes formats a size in MB, the unit of the settings.
func formatBytes(n int64) string {
	if n > 0 && n < 1e6 { // as the script does: a cache with one small page is not empty
		return fmt.Sprintf("%d kB", (n+999)/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
