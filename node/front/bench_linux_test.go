package front

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"testing"

	"bramble/node/front/http1/http1test"
)

func BenchmarkAppendHit(b *testing.B) {
	h := newTestSite(b)
	request := requestFor("/")
	room := make([]byte, 0, headRoom)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := h.AppendHit(room, request); !ok {
			b.Fatal("no hit")
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	for _, name := range []string{"wrk", "chrome", "chrome-reload"} {
		in := []byte(http1test.Browsers()[name])
		b.Run(name, func(b *testing.B) {
			h := newTestSite(b)
			one := new(replyBuffers)
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

// BenchmarkReadyBatch serves 16 connections in one batch, as an event loop does after a
// poll. Their clients are in the same thread, so that instructions can be counted exactly.
func BenchmarkReadyBatch(b *testing.B) {
	for _, name := range []string{"wrk", "chrome"} {
		b.Run(name, func(b *testing.B) { benchReadyBatch(b, []byte(http1test.Browsers()[name])) })
	}
}

func benchReadyBatch(b *testing.B, in []byte) {
	h := newTestSite(b)
	f, err := New(Config{Listen: "127.0.0.1:0", Handler: h, FastHandler: h, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	l := &eventLoop{front: f}
	var conns []*conn
	var clients []int
	for range 16 {
		pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
		if err != nil {
			b.Fatal(err)
		}
		defer sysClose(pair[0])
		defer sysClose(pair[1])
		c := &conn{front: f, loop: l, fd: pair[0]}
		f.conns.add(c)
		conns, clients = append(conns, c), append(clients, pair[1])
	}
	reply := make([]byte, 64<<10)
	b.ReportAllocs()
	for b.Loop() {
		for _, fd := range clients {
			if _, err := syscall.Write(fd, in); err != nil {
				b.Fatal(err)
			}
		}
		f.setRules(&l.buffers.rules)
		for _, c := range conns {
			if !c.hasNothingPending() {
				b.Fatal("a connection is not idle")
			}
			l.ready.add(c, false)
		}
		l.serveReady(h.Now())
		for _, fd := range clients {
			if n, err := syscall.Read(fd, reply); err != nil || !bytes.HasPrefix(reply[:n], []byte("HTTP/1.1 200")) {
				b.Fatalf("got %d bytes, %v", n, err)
			}
		}
	}
}
