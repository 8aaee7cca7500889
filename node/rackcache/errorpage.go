package rackcache

import (
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/http"

	"bramble/cache"
	"bramble/node/origin"
)

// errorPage is the page that a client gets if a page cannot be fetched.
type errorPage struct {
	status int
	title  string
	text   string
}

// errorPageFor explains an upstream's error to a client.
func errorPageFor(err error) errorPage {
	switch {
	case errors.Is(err, origin.ErrSlow):
		return errorPage{http.StatusGatewayTimeout, "The shop takes too long",
			"This page comes from a server that has not answered in time, and no stored copy may still be shown."}
	case errors.Is(err, origin.ErrBusy), errors.Is(err, cache.ErrBusy):
		return errorPage{http.StatusServiceUnavailable, "One moment",
			"The server behind this page is busy. Try again in a few seconds."}
	case errors.Is(err, cache.ErrOnlyIfCached):
		return errorPage{http.StatusGatewayTimeout, "Not in memory",
			"The request asked for a stored copy only, and there is none."}
	case errors.Is(err, origin.ErrMalformed):
		return errorPage{http.StatusBadGateway, "The shop is out of order",
			"This page comes from a server that sent a malformed reply, and no stored copy may still be shown."}
	default:
		return errorPage{http.StatusBadGateway, "The shop cannot be reached",
			"This page comes from a server that does not answer, or broke off its reply, and no stored copy may still be shown."}
	}
}

// newFailHandler returns the handler of requests that neither memory nor an
// upstream can answer.
func newFailHandler(log *slog.Logger) func(http.ResponseWriter, *http.Request, error) {
	return func(w http.ResponseWriter, r *http.Request, err error) {
		if errors.Is(err, errRefused) {
			writeRefused(w, "not stored")
			return
		}
		page := errorPageFor(err)
		log.Warn("no page: "+page.title, "error", err, "path", r.URL.Path)
		writeErrorPage(w, page)
	}
}

// writeRequestError rejects a request.
func writeRequestError(w http.ResponseWriter, err error) {
	status := http.StatusBadRequest
	switch {
	case errors.Is(err, origin.ErrLoop):
		status = http.StatusLoopDetected
	case errors.Is(err, origin.ErrMethod):
		status = http.StatusMethodNotAllowed
		w.Header().Set("Allow", origin.Methods)
	case errors.Is(err, origin.ErrFields):
		status = http.StatusRequestHeaderFieldsTooLarge
	}
	writeErrorPage(w, errorPage{status, http.StatusText(status), "This request cannot be answered: " + err.Error() + "."})
}

func writeErrorPage(w http.ResponseWriter, page errorPage) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if page.status == http.StatusServiceUnavailable || page.status == http.StatusGatewayTimeout || page.status == http.StatusBadGateway {
		h.Set("Retry-After", "5")
	}
	w.WriteHeader(page.status)
	// An error means that the client has gone.
	_, _ = fmt.Fprintf(w, errorPageHTML, html.EscapeString(page.title), html.EscapeString(page.title), page.status, html.EscapeString(page.text))
}

const errorPageHTML = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>%s</title>
<style>body{font:1.125rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto 0;padding:0 1.25rem}</style>
<main>
<h1>%s</h1>
<p>%[3]d: %[4]s</p>
<p>Nothing was ordered and nothing was lost. You can <a href="">try again</a>.</p>
</main>
</html>
`
