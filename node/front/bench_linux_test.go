package front

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"

	"bramble/node/front/http1/http1test"
)

func BenchmarkAppendHit(b *testing.B) {
	h := newTestSite(b)
	asked := requestFor("/")
	room := make([]byte, 0, headRoom)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := h.AppendHit(room, asked); !ok {
			b.Fatal("no hit")
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	for _, name := range []string{"wrk", "chrome", "chrome-reload"} {
		in := []byte(http1test.Browsers()[name])
		b.Run(name, func(b *testing.B) {
			h := newTestSite(b)
			one := new(replyBatch)
			b.ReportAllocs()
			for b.Loop() {
				if n, _ := one.answerRequests(in, &answerRules{handler: h}); n != len(in) {
					b.Fatal("not answered")
				}
				one.clearReplies()
			}
		})
	}
}

// Client and server share the machine and the process here.
func BenchmarkConnection(b *testing.B) {
	for name, text := range map[string]string{
		"fast path": get("/"), "fast path, TLS": get("/"), "fast path, browser": http1test.Browsers()["chrome"], "lent": get("/", "X-Odd: 1"), "handed off": get("/", "Connection: x"),
	} {
		b.Run(name, func(b *testing.B) {
			change, client := withTLS(b)
			f, _, _ := startFront(b, newTestSite(b), change)
			v := dialFront(b, f)
			if strings.HasSuffix(name, "TLS") {
				v = dialTLS(b, f, client)
			}
			in := []byte(text)
			length := 0
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Write(in); err != nil {
					b.Fatal(err)
				}
				if length == 0 {
					length = lengthOf(b, v.r)
					continue
				}
				if _, err := v.r.Discard(length); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// lengthOf reads one reply to GET / and returns its length; all are alike.
func lengthOf(b testing.TB, r *bufio.Reader) int {
	var head bytes.Buffer
	for !bytes.HasSuffix(head.Bytes(), []byte("\r\n\r\n")) {
		c, err := r.ReadByte()
		if err != nil {
			b.Fatal(err)
		}
		head.WriteByte(c)
	}
	const body = 4096
	if _, err := io.CopyN(io.Discard, r, body); err != nil {
		b.Fatal(err)
	}
	return head.Len() + body
}
