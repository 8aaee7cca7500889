package lab

import (
	"encoding/json"
	"net/http"
	"net/http/httputil"
	"net/url"

	"bramble/node/console/client"
)

// shopProxy is a reverse proxy that forwards the console's requests about orders to
// a live board: every board can answer for the rack. A failed request is not
// retried; the client retries.
// It passes on the client's own credentials, so that the board knows who it is: all boards have the
// accounts of the lab's console.
func (l *labSource) shopProxy(to client.Access) http.Handler {
	return &httputil.ReverseProxy{
		Transport: to.Transport(),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = "http", "", ""
			if at, err := url.Parse(l.anyConsole()); err == nil {
				p.Out.URL.Scheme, p.Out.URL.Host = at.Scheme, at.Host
			}
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, _ error) {
			text := "no board of the lab answers: wait a moment, or look at the boards' logs"
			switch {
			case len(l.liveBoards()) == 0:
				text = "no board of the lab runs: revive one"
			case r.Context().Err() != nil: // the board's own limit is the same
				text = "the board did not finish in time: \"bramble status\" shows whether too many boards are missing for a majority; if so, revive them"
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusServiceUnavailable)
			// Encoding a map of strings cannot fail, and a client that is gone needs no error.
			_ = json.NewEncoder(w).Encode(map[string]string{"error": text})
		},
	}
}

// anyConsole returns the URL of a live board's console, "" if no board runs.
func (l *labSource) anyConsole() string {
	if live := l.liveBoards(); len(live) > 0 {
		return consoleURL(live[0].Console)
	}
	return ""
}
