package rackcache

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// drops is a body that comes a piece at a time, with pauses between.
type drops struct {
	pieces []string
	pause  time.Duration
	end    error
	closed bool
}

func (d *drops) Read(p []byte) (int, error) {
	if len(d.pieces) == 0 {
		return 0, d.end
	}
	time.Sleep(d.pause)
	n := copy(p, d.pieces[0])
	if d.pieces[0] = d.pieces[0][n:]; d.pieces[0] == "" {
		d.pieces = d.pieces[1:]
	}
	return n, nil
}

func (d *drops) Close() error {
	d.closed = true
	return nil
}

func TestReadAhead(t *testing.T) {
	broken := errors.New("the board died")
	cases := []struct {
		name      string
		body      drops
		length    int64
		wantErr   error         // of readAhead
		wantWhole bool          // nothing is left to wait for
		wantText  string        // of the body then
		wantEnd   error         // that reading it ends with
		wantTook  time.Duration // at most, of readAhead
	}{
		{name: "small", body: drops{pieces: []string{"a page"}}, length: 6, wantWhole: true, wantText: "a page"},
		{name: "length unknown", body: drops{pieces: []string{"a ", "page"}}, length: -1, wantWhole: true, wantText: "a page"},
		{name: "empty", length: 0, wantWhole: true},
		{name: "dies in the middle", body: drops{pieces: []string{"a "}, end: broken}, length: 6, wantErr: broken},
		{name: "in drops", body: drops{pieces: []string{"a ", "page"}, pause: time.Second}, length: 6, wantText: "a page", wantTook: maxReadPause},
		{name: "in drops, dies", body: drops{pieces: []string{"a "}, pause: time.Second, end: broken}, length: 6, wantText: "a ", wantEnd: broken},
		{name: "short pauses", body: drops{pieces: []string{"a ", "pa", "ge"}, pause: maxReadPause / 2}, length: 6, wantWhole: true, wantText: "a page"},
		{name: "large", body: drops{pieces: []string{strings.Repeat("x", 2000)}}, length: -1, wantText: strings.Repeat("x", 2000)},
		{name: "large and said so", body: drops{pieces: []string{strings.Repeat("x", 2000)}}, length: 2000, wantText: strings.Repeat("x", 2000)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := c.body
				if body.end == nil {
					body.end = io.EOF
				}
				resp := &http.Response{Body: &body, ContentLength: c.length, Request: &http.Request{Method: http.MethodGet}}
				began := time.Now()
				err := readAhead(resp, 1000, maxReadPause)
				if !errors.Is(err, c.wantErr) {
					t.Fatalf("readAhead: %v, want %v", err, c.wantErr)
				}
				if took := time.Since(began); c.wantTook > 0 && took > c.wantTook {
					t.Errorf("readAhead took %v, want %v at most", took, c.wantTook)
				}
				if c.wantErr == nil {
					began := time.Now()
					text, err := io.ReadAll(resp.Body)
					if took := time.Since(began); c.wantWhole && took > 0 {
						t.Errorf("the body was not there: the rest took %v", took)
					}
					if string(text) != c.wantText || !errors.Is(err, c.wantEnd) {
						t.Errorf("the body is %d bytes and %v, want %d and %v", len(text), err, len(c.wantText), c.wantEnd)
					}
				}
				if err := resp.Body.Close(); err != nil || !body.closed {
					t.Errorf("closing: %v; the connection's body was closed: %v", err, body.closed)
				}
				synctest.Wait() // fails if the goroutine does not end
			})
		})
	}
}

func TestReadAheadClosedInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := io.NopCloser(iotest.OneByteReader(strings.NewReader(strings.Repeat("x", 100))))
		resp := &http.Response{Body: body, ContentLength: -1, Request: &http.Request{Method: http.MethodGet}}
		if err := readAhead(resp, 10, maxReadPause); err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
