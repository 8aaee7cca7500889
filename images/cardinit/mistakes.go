package cardinit

import (
	"context"
	_ "embed"
	"errors"
	"html/template"
	"net"
	"net/http"
	"strings"
	"time"
)

// Mistake is one mistake in the settings.
type Mistake struct {
	Line   int    // 0: in no line
	Column int    // 0: unknown
	Text   string // the problem and its remedy; never a secret
}

// SettingsError lists the mistakes in settings that cannot be used.
type SettingsError struct{ Mistakes []Mistake }

func (s *SettingsError) Error() string {
	lines := make([]string, len(s.Mistakes))
	for i, m := range s.Mistakes {
		lines[i] = m.Text
	}
	return strings.Join(lines, "\n")
}

// Limits on a client of the page of mistakes.
const (
	pageHeaderTimeout = 5 * time.Second
	pageTimeout       = 10 * time.Second
	maxPageHeader     = 8 << 10 // bytes
	// pageRetryDelay is the delay before listening again after an error.
	pageRetryDelay = 5 * time.Second
)

//go:embed mistakes.html
var mistakesPage string

// pageData is the data of the page of mistakes.
type pageData struct {
	Host, Serial, Version string
	Mistakes              []Mistake
}

// serveMistakes answers every request with the list of mistakes, until ctx ends. It
// never shows a line of the file itself, because a line may hold a secret.
func serveMistakes(ctx context.Context, listen string, d pageData, logf func(string, ...any)) {
	page, err := renderMistakes(d)
	if err != nil {
		logf("%v", err)
		return
	}
	server := &http.Server{
		ReadHeaderTimeout: pageHeaderTimeout, ReadTimeout: pageTimeout, WriteTimeout: pageTimeout, IdleTimeout: pageTimeout,
		MaxHeaderBytes: maxPageHeader,
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
	logged := false
	for ctx.Err() == nil {
		l, err := net.Listen("tcp", listen)
		if err == nil {
			err = server.Serve(l)
		}
		if errors.Is(err, http.ErrServerClosed) {
			return
		}
		if !logged {
			logf("the page of mistakes cannot be shown: %v", err)
			logged = true
		}
		sleep(ctx, pageRetryDelay)
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
