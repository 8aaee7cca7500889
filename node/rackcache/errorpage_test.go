package rackcache

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"bramble/cache"
	"bramble/node/origin"
)

// TestErrorPageOfAnUnsafeRequest: an error page claims that nothing was ordered only if that
// is certain.
func TestErrorPageOfAnUnsafeRequest(t *testing.T) {
	const (
		nothing = "nothing was ordered"
		unknown = "We do not know whether it went through. Check before you send it again."
	)
	busy := fmt.Errorf("no permit: %w", origin.ErrBusy)
	serve := newFailHandler(slog.New(slog.DiscardHandler))
	for _, c := range []struct {
		method string
		err    error
		status int
		want   string
	}{
		{"GET", origin.ErrSlow, 504, nothing},
		{"HEAD", origin.ErrDown, 502, nothing},
		{"POST", origin.ErrSlow, 504, unknown},
		{"POST", origin.ErrDown, 502, unknown},
		{"PUT", origin.ErrMalformed, 502, unknown},
		{"DELETE", errors.New("broken off"), 502, unknown},
		{"POST", relayError{busy}, 503, unknown},
		{"POST", busy, 503, nothing},
		{"POST", cache.ErrBusy, 503, nothing},
	} {
		w := httptest.NewRecorder()
		serve(w, httptest.NewRequest(c.method, "/slow", http.NoBody), fmt.Errorf("%w: %w", cache.ErrUpstream, c.err))
		page := w.Body.String()
		if w.Code != c.status || !strings.Contains(strings.ToLower(page), strings.ToLower(c.want)) {
			t.Errorf("%s, %v: status %d, page %q; want %d and %q", c.method, c.err, w.Code, page, c.status, c.want)
		}
		if c.want == unknown && (strings.Contains(strings.ToLower(page), nothing) || strings.Contains(page, "href=")) {
			t.Errorf("%s, %v: the page says that nothing happened, or offers a link: %q", c.method, c.err, page)
		}
	}
}
