package cardinit

import (
	"context"
	"errors"
	"html/template"
	"net"
	"net/http"
	"strings"
	"time"
)

// Mistake is one thing that is wrong with the settings.
type Mistake struct {
	Line   int    // 0: in no line
	Column int    // 0: not known
	Text   string // what is wrong and what to write instead; no secret
}

// SettingsError is the error of settings that cannot be used.
type SettingsError struct{ Mistakes []Mistake }

func (b *SettingsError) Error() string {
	lines := make([]string, len(b.Mistakes))
	for i, m := range b.Mistakes {
		lines[i] = m.Text
	}
	return strings.Join(lines, "\n")
}

// The bounds of what a client of the page of mistakes may take.
const (
	pageHeaderTime = 5 * time.Second
	pageTime       = 10 * time.Second
	pageHeader     = 8 << 10
	pageRetry      = 5 * time.Second
)

// pageData is what the page of mistakes shows.
type pageData struct {
	Host, Serial, Version string
	Mistakes              []Mistake
}

// serveMistakes shows what is wrong with the settings to whoever asks for
// anything, until ctx ends. It shows no line of the file itself, for a line may
// hold a secret.
func serveMistakes(ctx context.Context, listen string, d pageData, say func(string, ...any)) {
	page, err := renderMistakes(d)
	if err != nil {
		say("%v", err)
		return
	}
	server := &http.Server{
		ReadHeaderTimeout: pageHeaderTime, ReadTimeout: pageTime, WriteTimeout: pageTime, IdleTimeout: pageTime,
		MaxHeaderBytes: pageHeader,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			h.Set("Content-Type", "text/html; charset=utf-8")
			h.Set("Cache-Control", "no-store")
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
			h.Set("Retry-After", "60")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write(page) // a client that has gone needs no answer
		}),
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	told := false
	for ctx.Err() == nil {
		l, err := net.Listen("tcp", listen)
		if err == nil {
			err = server.Serve(l)
		}
		if errors.Is(err, http.ErrServerClosed) {
			return
		}
		if !told {
			say("the page of mistakes cannot be shown: %v", err)
			told = true
		}
		sleep(ctx, pageRetry)
	}
}

func renderMistakes(d pageData) ([]byte, error) {
	t, err := template.New("mistakes").Parse(mistakesPage)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	if err := t.Execute(&b, d); err != nil {
		return nil, err
	}
	return []byte(b.String()), nil
}

const mistakesPage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{.Host}}: bramble.toml has a mistake</title>
<style>body{font:1.125rem/1.5 system-ui,sans-serif;max-width:42rem;margin:10vh auto 0;padding:0 1.25rem}li{margin:.75em 0;overflow-wrap:anywhere}</style>
<main>
<h1>This board does not start: bramble.toml has a mistake</h1>
<ul>
{{range .Mistakes}}<li>{{if .Line}}<strong>Line {{.Line}}{{if .Column}}, column {{.Column}}{{end}}</strong>: {{end}}{{.Text}}</li>
{{end}}</ul>
<p>Switch the board off, put its card into a computer, mend the line in <code>bramble.toml</code> there, and put the card back.
The file is the same for all cards; <code>bramble config --config bramble.toml</code> finds mistakes before a card does.</p>
<p>{{.Host}}, serial number {{.Serial}}, {{.Version}}</p>
</main>
</html>
`
