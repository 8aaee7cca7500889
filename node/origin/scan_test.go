package origin

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// scanInPieces feeds bytes in pieces of a size and returns how many were good.
func scanInPieces(s *replyScanner, data []byte, size int) (good int, err error) {
	for good < len(data) {
		piece := data[good:min(good+size, len(data))]
		n, err := s.feed(piece)
		good += n
		if err != nil {
			return good, err
		}
	}
	return good, nil
}

func TestReplies(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	tests := []struct {
		name, method, reply string
		good                int // bytes believed; -1 = all
		rest                scanState
	}{
		{"length", "GET", ok + "Content-Length: 5\r\n\r\nhello", -1, idle},
		{"no body", "GET", ok + "content-length:\t0 \r\n\r\n", -1, idle},
		{"until close", "GET", "HTTP/1.0 200\r\nX: a\xe9\r\nEmpty:\r\n\r\nany\x00thing\n", -1, untilClose},
		{"half a body", "GET", ok + "Content-Length: 5\r\n\r\nhel", -1, body},
		{"chunks", "GET", ok + "Transfer-Encoding: Chunked\r\n\r\n3;a=b\r\nabc\r\nA \r\n0123456789\r\n0\r\nT: x\r\n\r\n", -1, idle},
		{"head", "HEAD", ok + "Content-Length: 5\r\n\r\n", -1, idle},
		{"not modified", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", -1, idle},
		{"no content", "GET", "HTTP/1.1 204 No Content\r\n\r\n", -1, idle},
		{"interim", "GET", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok + "Content-Length: 1\r\n\r\nx", -1, idle},
		{"empty reason", "GET", "HTTP/1.1 200 \r\n\r\n", -1, untilClose},

		{"two lengths", "GET", ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 54, 0},
		{"list of lengths", "GET", ok + "Content-Length: 5, 5\r\n\r\nhello", 38, 0},
		{"plus", "GET", ok + "Content-Length: +5\r\n\r\nhello", 36, 0},
		{"minus", "GET", ok + "Content-Length: -5\r\n\r\nhello", 36, 0},
		{"hex", "GET", ok + "Content-Length: 0x5\r\n\r\nhello", 37, 0},
		{"empty length", "GET", ok + "Content-Length: \r\n\r\nhello", 34, 0},
		{"blank in length", "GET", ok + "Content-Length: 1 5\r\n\r\nhello", 37, 0},
		{"length overflows", "GET", ok + "Content-Length: 18446744073709551621\r\n\r\nhello", 54, 0},
		{"length and coding", "GET", ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 63, 0},
		{"coding and length", "GET", ok + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 63, 0},
		{"other coding", "GET", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n", 50, 0},
		{"identity", "GET", ok + "Transfer-Encoding: identity\r\n\r\n", 45, 0},
		{"chunked twice", "GET", ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 72, 0},
		{"coding in 1.0", "GET", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 44, 0},
		{"bare lf", "GET", ok + "X: a\nY: b\r\n\r\n", 21, 0},
		{"bare lf at the start", "GET", "HTTP/1.1 200 OK\nX: a\r\n\r\n", 15, 0},
		{"bare cr", "GET", ok + "X: a\rb\r\n\r\n", 22, 0},
		{"nul", "GET", ok + "X: a\x00b\r\n\r\n", 21, 0},
		{"nul in a name", "GET", ok + "X\x00: a\r\n\r\n", 18, 0},
		{"delete", "GET", ok + "X: a\x7f\r\n\r\n", 21, 0},
		{"folded", "GET", ok + "X: a\r\n b\r\n\r\n", 26, 0},
		{"folded at the start", "GET", ok + " X: a\r\n\r\n", 23, 0},
		{"blank before the colon", "GET", ok + "X : a\r\n\r\n", 23, 0},
		{"no name", "GET", ok + ": a\r\n\r\n", 21, 0},
		{"no colon", "GET", ok + "X\r\n\r\n", 19, 0},
		{"strange name", "GET", ok + "X(: a\r\n\r\n", 23, 0},
		{"no http", "GET", "this is no HTTP\r\n\r\n", 16, 0},
		{"http 2", "GET", "HTTP/2 200 OK\r\n\r\n", 14, 0},
		{"status of two digits", "GET", "HTTP/1.1 20 OK\r\n\r\n", 15, 0},
		{"status of four digits", "GET", "HTTP/1.1 2000 OK\r\n\r\n", 17, 0},
		{"status below all", "GET", "HTTP/1.1 099 OK\r\n\r\n", 16, 0},
		{"switched protocols", "GET", "HTTP/1.1 101 OK\r\n\r\n", 16, 0},
		{"chunk size", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n-1\r\n", 50, 0},
		{"chunk size by lf", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n1\na\r\n", 48, 0},
		{"chunk too long", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 51, 0},
		{"folded trailer", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nT: a\r\n b\r\n\r\n", 59, 0},
		{"more than the body", "GET", ok + "Content-Length: 5\r\n\r\nhello!", 43, 0},
		{"a second reply", "HEAD", ok + "Content-Length: 5\r\n\r\nhello", 38, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{1, 7, 1 << 20} {
				s := new(replyScanner)
				if err := s.expectReply(tt.method); err != nil {
					t.Fatal(err)
				}
				good, err := scanInPieces(s, []byte(tt.reply), size)
				want := tt.good
				if want < 0 {
					want = len(tt.reply)
				}
				if good != want || (err != nil) != (tt.good >= 0) || err != nil && !errors.Is(err, ErrMalformed) {
					t.Errorf("in pieces of %d: good are %d bytes, %q, with %v; want %d", size, good, tt.reply[:good], err, want)
				}
				if err == nil && s.state != tt.rest {
					t.Errorf("in pieces of %d: the state is %d, want %d", size, s.state, tt.rest)
				}
			}
		})
	}
}

func TestRepliesAreBounded(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, reply := range map[string]string{
		"fields":         ok + strings.Repeat("X: a\r\n", maxReplyFields+1),
		"one long field": ok + "X: " + strings.Repeat("a", maxReplyHead),
		"interims":       strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", maxInterim+1),
		"trailers":       ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: a\r\n", maxReplyFields),
		"chunk size":     ok + "Transfer-Encoding: chunked\r\n\r\n" + "1;" + strings.Repeat("x", maxSizeLine),
	} {
		s := new(replyScanner)
		if err := s.expectReply(http.MethodGet); err != nil {
			t.Fatal(err)
		}
		if _, err := scanInPieces(s, []byte(reply), 4096); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s without end: %v", name, err)
		}
	}
	// A body may have any number of chunks.
	s := new(replyScanner)
	if err := s.expectReply(http.MethodGet); err != nil {
		t.Fatal(err)
	}
	long := ok + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\nx\r\n", maxReplyHead) + "0\r\n\r\n"
	if _, err := scanInPieces(s, []byte(long), 4096); err != nil || s.state != idle {
		t.Errorf("a body of many chunks: %v", err)
	}
}

func TestNothingIsAcceptedWithoutARequest(t *testing.T) {
	s := new(replyScanner)
	if n, err := s.feed([]byte("H")); n != 0 || !errors.Is(err, ErrMalformed) {
		t.Errorf("bytes without a request: %d, %v", n, err)
	}
	if err := s.expectReply(http.MethodGet); err != nil {
		t.Error(err)
	}
	if err := s.expectReply(http.MethodGet); err == nil {
		t.Error("a second request before the first was answered")
	}
}

// The division of the bytes into reads changes nothing, and net/http accepts every
// whole reply that the scanner accepts, with the same body.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nT: x\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.0 200\r\nX: y\r\n\r\nbody",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
	} {
		f.Add(false, []byte(seed), uint8(1))
	}
	f.Add(true, []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), uint8(3))
	f.Fuzz(func(t *testing.T, head bool, data []byte, size uint8) {
		method := http.MethodGet
		if head {
			method = http.MethodHead
		}
		whole, pieces := new(replyScanner), new(replyScanner)
		for _, s := range []*replyScanner{whole, pieces} {
			if err := s.expectReply(method); err != nil {
				t.Fatal(err)
			}
		}
		good, err := scanInPieces(whole, data, len(data)+1)
		again, errAgain := scanInPieces(pieces, data, int(size)+1)
		if good != again || (err == nil) != (errAgain == nil) || err == nil && whole.state != pieces.state {
			t.Fatalf("at once: %d, %v; in pieces of %d: %d, %v", good, err, int(size)+1, again, errAgain)
		}
		if err != nil || whole.state != idle && whole.state != untilClose {
			return
		}
		r := bufio.NewReader(bytes.NewReader(data))
		request := &http.Request{Method: method}
		resp, err := http.ReadResponse(r, request)
		for err == nil && resp.StatusCode < 200 {
			resp, err = http.ReadResponse(r, request)
		}
		if err != nil {
			t.Fatalf("accepted, and net/http says %v", err)
		}
		if whole.fields > 60 {
			return // net/http wants all trailers within its buffer
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatalf("accepted, and net/http says of the body %v", err)
		}
		if whole.state == idle && r.Buffered() > 0 {
			t.Fatalf("net/http leaves %d bytes that the scanner saw as the reply's", r.Buffered())
		}
	})
}
