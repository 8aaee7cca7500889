package node

import (
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/http"

	"bramble/cache"
	"bramble/node/origin"
)

// errorPage is what a client is told when a page cannot be had.
type errorPage struct {
	status int
	title  string
	text   string
}

// errorPageFor turns an upstream's error into words for a client.
func errorPageFor(err error) errorPage {
	switch {
	case errors.Is(err, origin.ErrSlow):
		return errorPage{http.StatusGatewayTimeout, "The shop takes too long",
			"This page comes from a server that has not answered in time, and there is no copy of it here that may still be shown."}
	case errors.Is(err, origin.ErrBusy), errors.Is(err, cache.ErrBusy):
		return errorPage{http.StatusServiceUnavailable, "One moment",
			"The server behind this page has as much to do as it can bear. Try again in a few seconds."}
	case errors.Is(err, cache.ErrOnlyIfCached):
		return errorPage{http.StatusGatewayTimeout, "Not in memory",
			"The request asked for a stored copy only, and there is none."}
	case errors.Is(err, origin.ErrMalformed):
		return errorPage{http.StatusBadGateway, "The shop is out of order",
			"This page comes from a server that answered with something that is no proper reply, and there is no copy of it here that may still be shown."}
	default:
		return errorPage{http.StatusBadGateway, "The shop cannot be reached",
			"This page comes from a server that does not answer, or broke off, and there is no copy of it here that may still be shown."}
	}
}

// newFailHandler answers for the cache when nothing may be sent from memory.
func newFailHandler(log *slog.Logger) func(http.ResponseWriter, *http.Request, error) {
	return func(w http.ResponseWriter, r *http.Request, err error) {
		if errors.Is(err, errRefused) {
			writeRefused(w, "not stored")
			return
		}
		f := errorPageFor(err)
		log.Warn("no page: "+f.title, "error", err, "path", r.URL.Path)
		writeErrorPage(w, f)
	}
}

// writeRequestError answers a request that cannot be taken on.
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

func writeErrorPage(w http.ResponseWriter, f errorPage) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if f.status == http.StatusServiceUnavailable || f.status == http.StatusGatewayTimeout || f.status == http.StatusBadGateway {
		h.Set("Retry-After", "5")
	}
	w.WriteHeader(f.status)
	// The client may have gone; there is nobody else to tell.
	_, _ = fmt.Fprintf(w, errorPageHTML, html.EscapeString(f.title), html.EscapeString(f.title), f.status, html.EscapeString(f.text))
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
