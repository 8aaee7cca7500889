package rackcache

import (
	"errors"
	"fmt"
	"html"
	"html/template"
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
	next   template.HTML // what became of the request, and what to do next
}

// What became of a request, the last paragraph of its page. A link asks with GET, so only a
// request that is safe (RFC 9110 §9.2.1) gets one.
const (
	safeNext    = `Nothing was ordered and nothing was lost. You can <a href="">try again</a>.`
	unsentNext  = `It was not passed on, so nothing was ordered.`
	unknownNext = `We do not know whether it went through. Check before you send it again.`
)

// nextFor returns what became of a request that has failed. A request that is not safe may
// have changed something at the origin, unless it certainly never left the rack.
func nextFor(r *http.Request, err error) template.HTML {
	var relayed relayError
	switch {
	case r.Method == http.MethodGet, r.Method == http.MethodHead, r.Method == http.MethodOptions:
		return safeNext
	case errors.Is(err, cache.ErrOnlyIfCached), errors.Is(err, cache.ErrBusy),
		errors.Is(err, origin.ErrBusy) && !errors.As(err, &relayed):
		return unsentNext
	}
	return unknownNext
}

func errorPageFor(err error) errorPage {
	switch {
	case errors.Is(err, origin.ErrSlow):
		return errorPage{status: http.StatusGatewayTimeout, title: "The shop takes too long",
			text: "The server behind this page has not answered in time."}
	case errors.Is(err, origin.ErrBusy), errors.Is(err, cache.ErrBusy):
		return errorPage{status: http.StatusServiceUnavailable, title: "The shop is busy",
			text: "The server behind this page has too much to do at the moment. Try again in a few seconds."}
	case errors.Is(err, cache.ErrOnlyIfCached):
		return errorPage{status: http.StatusGatewayTimeout, title: "There is no stored copy",
			text: "The request asked for a stored copy only, and there is none."}
	case errors.Is(err, origin.ErrMalformed):
		return errorPage{status: http.StatusBadGateway, title: "The shop is out of order",
			text: "The server behind this page sent a reply that cannot be shown."}
	default:
		return errorPage{status: http.StatusBadGateway, title: "The shop cannot be reached",
			text: "The server behind this page does not answer, or broke off its reply."}
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
		page.next = nextFor(r, err)
		log.Warn("a request failed", "status", page.status, "method", r.Method, "path", r.URL.Path, "error", err)
		writeErrorPage(w, page)
	}
}

func writeRequestError(w http.ResponseWriter, err error) {
	status := http.StatusBadRequest
	switch {
	case errors.Is(err, origin.ErrLoop):
		status = http.StatusLoopDetected
	case errors.Is(err, origin.ErrMethod):
		status = http.StatusMethodNotAllowed
		w.Header().Set("Allow", origin.Methods)
	case errors.Is(err, origin.ErrUnknownMethod):
		status = http.StatusNotImplemented
	case errors.Is(err, origin.ErrFields):
		status = http.StatusRequestHeaderFieldsTooLarge
	}
	writeErrorPage(w, errorPage{
		status: status, title: http.StatusText(status), next: unsentNext,
		text: "This request cannot be answered: " + err.Error() + ".",
	})
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
	_, _ = fmt.Fprintf(w, errorPageHTML, html.EscapeString(page.title), html.EscapeString(page.title), page.status, html.EscapeString(page.text), page.next)
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
<p>%[5]s</p>
</main>
</html>
`
