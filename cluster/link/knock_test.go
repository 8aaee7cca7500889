package link

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"bramble/cluster/logdedup"
)

// A configuration may have a key and four old ones.
func TestALinkAcceptsFiveKeys(t *testing.T) {
	id, err := newIdentity("board-1", [][]byte{rackKey(1), rackKey(2), rackKey(3), rackKey(4), rackKey(5)})
	if err != nil {
		t.Fatal(err)
	}
	knock, err := appendKnock(nil, id.knockKeys[4])
	if err != nil || !checkKnock(knock, id.knockKeys) {
		t.Errorf("the oldest key is refused: %v", err)
	}
}

func TestKnockIsValidOnlyUnderItsKey(t *testing.T) {
	right, old, wrong := []byte("right"), []byte("old"), []byte("wrong")
	knock, err := appendKnock(nil, right)
	if err != nil {
		t.Fatal(err)
	}
	if len(knock) != knockSize {
		t.Fatalf("a knock has %d bytes, want %d", len(knock), knockSize)
	}
	cases := []struct {
		name string
		b    []byte
		keys [][]byte
		want bool
	}{
		{"the key", knock, [][]byte{right}, true},
		{"the key as the second of two", knock, [][]byte{old, right}, true},
		{"another key", knock, [][]byte{wrong}, false},
		{"no key", knock, nil, false},
		{"cut off", knock[:knockSize-1], [][]byte{right}, false},
		{"too long", append(bytes.Clone(knock), 0), [][]byte{right}, false},
		{"empty", nil, [][]byte{right}, false},
	}
	for i := range knock {
		flipped := bytes.Clone(knock)
		flipped[i] ^= 1
		cases = append(cases, struct {
			name string
			b    []byte
			keys [][]byte
			want bool
		}{"one bit flipped", flipped, [][]byte{right}, false})
	}
	for _, c := range cases {
		if got := checkKnock(c.b, c.keys); got != c.want {
			t.Errorf("%s: checkKnock = %v, want %v", c.name, got, c.want)
		}
	}
}

func FuzzCheckKnock(f *testing.F) {
	knock, err := appendKnock(nil, []byte("rack"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(knock)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{knockVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		if checkKnock(b, [][]byte{[]byte("a key that no input was made with")}) {
			t.Errorf("%x is accepted as a knock", b)
		}
	})
}

// A stranger must get nothing but a closed connection, whatever it sends first,
// and the log must give the reason once, not once per attempt.
func TestStrangersGetOnlyAClosedConnection(t *testing.T) {
	var log lines
	quiet := slog.New(logdedup.NewHandler(slog.NewTextHandler(&log, nil), time.Minute, nil))
	link, err := New(Config{Name: "board-1", Keys: [][]byte{rackKey(1)}, Listen: "127.0.0.1:0", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	serveLink(t, link, http.NotFoundHandler())

	foreign, err := newIdentity("board-1", [][]byte{rackKey(2)})
	if err != nil {
		t.Fatal(err)
	}
	wrongKnock, err := appendKnock(nil, foreign.knockKeys[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, sent := range map[string][]byte{
		"HTTP":                         []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n" + strings.Repeat("x", knockSize)),
		"a TLS hello":                  append([]byte{0x16, 3, 1, 0, 200}, make([]byte, 200)...),
		"another rack's knock":         wrongKnock,
		"another rack's knock and TLS": append(bytes.Clone(wrongKnock), 0x16, 3, 1),
	} {
		conn, err := net.Dial("tcp", link.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(sent); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		// A reset is as good as an end: it matters only that no byte came.
		got, err := io.ReadAll(conn)
		var timeout net.Error
		if len(got) > 0 || errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%s: got %d bytes and %v, want only a closed connection", name, len(got), err)
		}
		conn.Close()
	}
	if n := strings.Count(log.String(), "does not hold this rack's key"); n != 1 {
		t.Errorf("the log gives the reason %d times, want once:\n%s", n, log.String())
	}
}

// A replayed knock gets to the TLS handshake and no further.
func TestReplayedKnockDoesNotAdmit(t *testing.T) {
	link, err := New(Config{Name: "board-1", Keys: [][]byte{rackKey(1)}, Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	served := false
	serveLink(t, link, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served = true }))
	knock, err := appendKnock(nil, link.id.knockKeys[0])
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := newIdentity("board-2", [][]byte{rackKey(2)})
	if err != nil {
		t.Fatal(err)
	}
	for name, certificates := range map[string][]tls.Certificate{"no certificate": nil, "another rack's": {foreign.leaf}} {
		conn, err := net.Dial("tcp", link.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(knock); err != nil {
			t.Fatal(err)
		}
		secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, Certificates: certificates, MinVersion: tls.VersionTLS13})
		_, err = secure.Write([]byte("GET " + PingPath + " HTTP/1.1\r\nHost: x\r\n\r\n"))
		if err == nil {
			_, err = secure.Read(make([]byte, 1))
		}
		if err == nil {
			t.Errorf("%s: got an answer", name)
		}
		conn.Close()
	}
	if served {
		t.Error("the handler was reached")
	}
}
