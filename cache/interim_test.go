package cache

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"testing"
)

// fetchHints fetches over HTTP and returns the interim replies too.
func fetchHints(t *testing.T, client *http.Client, method, url string) (hints []string, resp *http.Response) {
	t.Helper()
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(code, " ", h.Get("Link"), h.Get("X-Hint"), h.Get("Keep-Alive")))
			return nil
		},
	})
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err = client.Do(r); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return hints, resp
}

// TestInterim15_2: interim replies reach the client that caused the fetch, with
// their fields, and are not stored; whatever the method.
func TestInterim15_2(t *testing.T) {
	url, client, c := startRig(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(102)
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.Header().Set("Keep-Alive", "5")
		w.WriteHeader(103)
		w.Header().Del("Link")
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "page")
	})
	want := fmt.Sprint([]string{"102 ", "103 </style.css>; rel=preload"})
	for _, method := range []string{"GET", "POST"} {
		hints, resp := fetchHints(t, client, method, url+"/")
		if got := fmt.Sprint(hints); got != want || resp.StatusCode != 200 || resp.Header.Get("Link") != "" {
			t.Errorf("%s: %s, %d %v", method, got, resp.StatusCode, resp.Header)
		}
		c.flights.done.Wait()
		if method == "GET" {
			hints, resp = fetchHints(t, client, method, url+"/")
			if len(hints) > 0 || resp.Header.Get("Age") == "" {
				t.Errorf("from memory: %v %v", hints, resp.Header)
			}
		}
	}
}

func TestInterimIsBounded(t *testing.T) {
	url, client, _ := startRig(t, func(w http.ResponseWriter, r *http.Request) {
		for i := range 3 * maxInterim {
			w.Header().Set("X-Hint", fmt.Sprint(i))
			w.WriteHeader(103)
		}
	})
	for _, method := range []string{"GET", "POST"} {
		if hints, _ := fetchHints(t, client, method, url+"/"); len(hints) == 0 || len(hints) > maxInterim {
			t.Errorf("%s: %d interim replies", method, len(hints))
		}
	}
}

// interimWriter records the statuses that are written.
type interimWriter struct {
	*httptest.ResponseRecorder
	codes []int
}

func (w *interimWriter) WriteHeader(code int) {
	w.codes = append(w.codes, code)
	if code >= 200 {
		w.ResponseRecorder.WriteHeader(code)
	}
}

// TestInterimIsForTheLeader: a client that waits for another.s fetch gets none, nor
// does a client that speaks HTTP/1.0.
func TestInterimIsForTheLeader(t *testing.T) {
	for _, old := range []bool{false, true} {
		hint, open := make(chan struct{}), make(chan struct{})
		b := newBench(t, nil)
		b.route.Upstream = upstreamFunc(func(ctx context.Context, _ *http.Request) (*http.Response, error) {
			<-hint
			trace := httptrace.ContextClientTrace(ctx)
			for _, code := range []int{100, 103, 101} {
				if err := trace.Got1xxResponse(code, textproto.MIMEHeader{}); err != nil {
					return nil, err
				}
			}
			if err := trace.Got1xxResponse(103, textproto.MIMEHeader{"X": {"a\nb"}}); err != nil {
				return nil, err
			}
			<-open
			return reply(200, "x", "Cache-Control: max-age=60"), nil
		})
		const n = 10
		var all sync.WaitGroup
		writers := make([]*interimWriter, n)
		for i := range writers {
			writers[i] = &interimWriter{ResponseRecorder: httptest.NewRecorder()}
			all.Go(func() {
				r := plainGet(0)
				if old {
					r.ProtoMajor, r.ProtoMinor = 1, 0
				}
				b.Serve(writers[i], r, b.route)
			})
		}
		close(hint)
		close(open)
		all.Wait()
		hints := 0
		for _, w := range writers {
			hints += len(w.codes) - 1
			if w.codes[len(w.codes)-1] != 200 {
				t.Errorf("codes %v", w.codes)
			}
		}
		if want := map[bool]int{false: 1, true: 0}[old]; hints != want {
			t.Errorf("HTTP/1.0 %v: %d interim replies, want %d", old, hints, want)
		}
	}
}
