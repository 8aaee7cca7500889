package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestTruncatedBody(t *testing.T) {
	tests := map[string]func() *http.Response{
		"short": func() *http.Response {
			resp := reply(200, "half", "Cache-Control: max-age=60")
			resp.ContentLength = 8
			return resp
		},
		"large": func() *http.Response {
			resp := reply(200, strings.Repeat("x", maxHeld), "Cache-Control: max-age=60")
			resp.ContentLength = maxHeld + 1
			return resp
		},
		"long": func() *http.Response {
			resp := reply(200, "longer", "Cache-Control: max-age=60")
			resp.ContentLength = 4
			return resp
		},
		"chunked": func() *http.Response {
			resp := reply(200, "", "Cache-Control: max-age=60")
			resp.ContentLength = -1
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("half"), errReader{io.ErrUnexpectedEOF}))
			return resp
		},
	}
	for name, make := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, script(func(*http.Request) (*http.Response, error) { return make(), nil }))
			res := b.get()
			if aborted := name == "chunked" || name == "large"; res.aborted != aborted || (name == "short" && (res.Code != 502 || res.Header().Get("Cache-Control") != "no-store")) {
				t.Errorf("%d %q %v, aborted: %v", res.Code, res.Body, res.Header(), res.aborted)
			}
			if n := b.Stats().Objects; n != 0 {
				t.Errorf("%d stored", n)
			}
		})
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestLargeStreamsThrough(t *testing.T) {
	for _, announced := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			page := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB
			up, open := gate(func(int64, *http.Request) (*http.Response, error) {
				resp := reply(200, string(page), "Cache-Control: max-age=60")
				if !announced {
					resp.ContentLength = -1
				}
				return resp, nil
			})
			b := newBench(t, up)
			collect := b.crowd(10, plainGet)
			close(open)
			for _, res := range collect() {
				if !bytes.Equal(res.Body.Bytes(), page) || res.aborted {
					t.Errorf("announced %v: got %d bytes, aborted %v", announced, res.Body.Len(), res.aborted)
				}
			}
			b.awaitFetches()
			b.wantFetches(1)
			if s := b.Stats(); s.Objects != 0 || s.Incoming != 0 || s.Rejected != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// stuckWriter is a client that reads its first bytes and then no more until it may.
type stuckWriter struct {
	http.ResponseWriter
	let chan struct{}
}

func (w stuckWriter) Write(p []byte) (int, error) {
	<-w.let
	return w.ResponseWriter.Write(p)
}

func TestSlowReaderIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := strings.Repeat("x", 1<<20)
		up, open := gate(func(int64, *http.Request) (*http.Response, error) {
			return reply(200, page, "Cache-Control: max-age=60"), nil
		})
		b := newBench(t, up)
		let := make(chan struct{})
		aborted := make(chan bool, 1)
		go func() {
			defer func() { aborted <- recover() == http.ErrAbortHandler }()
			b.Serve(stuckWriter{httptest.NewRecorder(), let}, request("GET", pageURL), b.route)
		}()
		synctest.Wait()
		collect := b.crowd(3, plainGet)
		start := time.Now()
		close(open)
		for _, res := range collect() {
			if res.Body.String() != page || res.aborted {
				t.Errorf("got %d bytes, aborted %v", res.Body.Len(), res.aborted)
			}
		}
		if d := time.Since(start); d > 2*DefaultReaderStall {
			t.Errorf("held up for %v", d)
		}
		close(let)
		if !<-aborted {
			t.Error("the slow client was not cut off")
		}
	})
}

// TestSpool lets fast and slow readers follow a writer, without and with sliding.
func TestSpool(t *testing.T) {
	for _, size := range []int{0, 1, firstChunk, firstChunk + 1, 300_000} {
		for _, slide := range []bool{false, true} {
			want := make([]byte, size)
			for i := range want {
				want[i] = byte(i * 7)
			}
			s := newSpool(time.Minute)
			if slide {
				s.startSliding()
			}
			var clients sync.WaitGroup
			for i := range 8 {
				rd := s.attach()
				part := byteRange{0, -1}
				if i%2 == 1 && size > 2 {
					part = byteRange{int64(size / 3), int64(size / 2)}
				}
				clients.Go(func() {
					w := httptest.NewRecorder()
					if err := rd.copyTo(t.Context(), w, part); err != nil {
						t.Error(err)
					}
					s.detach(rd)
					expect := want
					if part.length >= 0 {
						expect = want[part.offset : part.offset+part.length]
					}
					if !bytes.Equal(w.Body.Bytes(), expect) {
						t.Errorf("size %d, slide %v, %+v: got %d bytes", size, slide, part, w.Body.Len())
					}
				})
			}
			r := rand.New(rand.NewPCG(1, uint64(size)))
			for left := want; len(left) > 0; {
				buf, err := s.nextBuffer(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				n := copy(buf[:1+r.IntN(len(buf))], left)
				left = left[n:]
				s.noteWritten(n, false)
			}
			s.finish(nil)
			clients.Wait()
			if !slide {
				if got := bytes.Join(s.storedBody(), nil); !bytes.Equal(got, want) {
					t.Errorf("size %d: kept %d bytes", size, len(got))
				}
				for _, part := range s.storedBody() {
					if len(part) != cap(part) {
						t.Errorf("size %d: a part of %d bytes holds %d", size, len(part), cap(part))
					}
				}
			}
		}
	}
}

func TestSpoolWriterGivesUp(t *testing.T) {
	s := newSpool(time.Minute)
	s.startSliding()
	s.attach()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	for {
		buf, err := s.nextBuffer(ctx)
		if err != nil {
			if !errors.Is(err, errRefused) {
				t.Error(err)
			}
			return
		}
		s.noteWritten(len(buf), false)
		if s.written > largestChunk {
			cancel(errRefused)
		}
		if s.written > 10*largestChunk {
			t.Fatal("the window has no bound")
		}
	}
}

// pausingBody returns all its bytes, and its end when it may.
type pausingBody struct {
	io.Reader
	end chan struct{}
}

func (p pausingBody) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if err == io.EOF {
		<-p.end
	}
	return n, err
}

func (p pausingBody) Close() error { return nil }

// A client that has counted the last byte of a page may request it in another way, for which
// there is no flight to join (HEAD, a range): the page is stored by then.
func TestPageIsStoredWhenItsLastByteIsSent(t *testing.T) {
	for _, method := range []string{"HEAD", "GET"} {
		synctest.Test(t, func(t *testing.T) {
			end := make(chan struct{})
			b := newBench(t, script(func(*http.Request) (*http.Response, error) {
				resp := reply(200, "a page", "Cache-Control: max-age=60")
				resp.Body, resp.ContentLength = pausingBody{strings.NewReader("a page"), end}, 6
				return resp, nil
			}))
			collect := b.crowd(2, plainGet)
			if b.HasFresh(plainGet(0)) {
				t.Error("a page was stored whose end had not come")
			}
			for f := range b.flights.active {
				f.spool.mu.Lock()
				if n := len(f.spool.readers); n != 2 {
					t.Errorf("%d of 2 clients still read a page that is not stored: the others have all of it", n)
				}
				f.spool.mu.Unlock()
			}
			close(end)
			for _, res := range collect() {
				if res.Body.String() != "a page" {
					t.Errorf("a client got %q", res.Body)
				}
			}
			r := request(method, pageURL)
			if method == "GET" {
				r.Header.Set("Range", "bytes=0-0")
			}
			b.serve(r)
			b.wantFetches(1)
		})
	}
}
