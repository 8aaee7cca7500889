package front

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"bramble/node/front/admission"
	"bramble/node/front/http1/http1test"
)

// testCertificate returns a certificate for testHost, and a pool that trusts it.
func testCertificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: testHost}, DNSNames: []string{testHost},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// withTLS returns a change of a Config for TLS, and the clients' configuration.
func withTLS(t testing.TB, more ...func(*HTTPSConfig)) (change func(*Config), client *tls.Config) {
	t.Helper()
	cert, pool := testCertificate(t)
	cfg := &HTTPSConfig{
		Listen: "127.0.0.1:0", Handshakes: 64,
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil },
	}
	for _, f := range more {
		f(cfg)
	}
	return func(c *Config) { c.TLS = cfg }, &tls.Config{ServerName: testHost, RootCAs: pool}
}

// dialTLS is dialFront over TLS.
func dialTLS(t testing.TB, f *Front, cfg *tls.Config) *testClient {
	t.Helper()
	v := dialAddr(t, f.https.listener.Addr())
	secure := tls.Client(v.Conn, cfg)
	if err := secure.Handshake(); err != nil {
		t.Fatal(err)
	}
	v.Conn = secure
	v.r.Reset(secure)
	return v
}

func TestOneTLSConnectionServedInAllWays(t *testing.T) {
	h := newTestSite(t)
	change, client := withTLS(t)
	f, _, _ := startFront(t, h, change)
	v := dialTLS(t, f, client)
	for round := range int64(3) {
		v.send(get("/q?x=1&y=%20")) // the fast path
		if resp, body := v.reply(); resp.StatusCode != 200 || body != "<p>/q" || resp.Header.Get("Age") != "17" {
			t.Fatalf("got %v %q", resp, body)
		}
		v.send(get("/gone", "X-Odd: 1")) // lent
		if resp, body := v.reply(); resp.StatusCode != 410 || body != "<p>/gone" {
			t.Fatalf("got %v %q", resp, body)
		}
		if got := f.Counts(); got.Fast != round+1 || got.Lent != round+1 || got.HandedOff != 0 {
			t.Fatalf("counts are %+v", got)
		}
	}
	v.send(get("/never") + get("/gone") + get("/never/2") + lines("POST /x HTTP/1.1", hostLine, "Content-Length: 2") + "ab" + get("/gone"))
	for i, want := range []string{"<p>/never", "<p>/gone", "<p>/never/2", "<p>/x", "<p>/gone"} {
		if _, body := v.reply(); body != want {
			t.Errorf("reply %d is %q, want %q", i, body, want)
		}
	}
	if got := f.Counts(); got.Fast != 4 || got.Lent != 5 || got.HandedOff != 1 || got.Open != 1 || got.Replies != 11 || got.TLS.Handshakes != 1 {
		t.Errorf("counts are %+v", got)
	}
	v.Close()
	until(t, "the connection leaves the table", func() bool { return f.Counts().Open == 0 })
}

// roundTrip returns all replies to some bytes after which the client sends no more.
func roundTrip(t *testing.T, v *testClient, in string) string {
	t.Helper()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		// The server may close before the end of it.
		_, _ = io.WriteString(v, in)
		_ = v.Conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
	out, err := io.ReadAll(v.r)
	<-sent
	if err != nil {
		return string(out) + "\n" + err.Error()
	}
	today := regexp.MustCompile(`(?m)^Date: .* 20(1[^2]|[^1].) .*\r$`) // the pages' own is of 2012
	return today.ReplaceAllString(string(out), "Date: now\r")
}

// refill waits until the front page is in memory again: a POST drops it.
func (s *testSite) refill(t *testing.T) {
	t.Helper()
	until(t, "the front page is in memory", func() bool {
		if len(s.viaFastPath([]byte(get("/")), answerRules{}).heads) == 1 {
			return true
		}
		s.viaNetHTTP([]byte(get("/", "Connection: close")))
		return false
	})
}

// The replies of the fast path and net/http to a client's bytes are the same with TLS and
// without.
func TestTLSChangesNoReply(t *testing.T) {
	t.Parallel()
	h := newTestSite(t)
	change, client := withTLS(t)
	f, _, _ := startFront(t, h, change, func(cfg *Config) { cfg.IdleTimeout = 400 * time.Millisecond })
	for name, s := range http1test.Seeds() {
		var plain, secure string
		// A page is in memory a moment after its last byte was sent, so the first tries may
		// differ.
		for range 5 {
			h.refill(t)
			plain = roundTrip(t, dialFront(t, f), s.In)
			h.refill(t)
			if secure = roundTrip(t, dialTLS(t, f, client), s.In); plain == secure {
				break
			}
		}
		if plain != secure {
			t.Errorf("%s: to %.200q\nplain, %d bytes:\n%.2000s\nTLS, %d bytes:\n%.2000s", name, s.In, len(plain), plain, len(secure), secure)
		}
	}
	until(t, "all leave the table", func() bool { return f.Counts().Open == 0 })
}

func TestTLSBytesMayArriveOneByOne(t *testing.T) {
	change, client := withTLS(t)
	f, _, _ := startFront(t, newTestSite(t), change)
	v := dialTLS(t, f, client)
	text := http1test.Browsers()["chrome"] + get("/never", "X-Odd: 1") + http1test.Browsers()["wrk"] + lines("GET / HTTP/1.1", "Host : x")
	for i := range len(text) {
		v.send(text[i : i+1])
	}
	for i, want := range []int{200, 200, 200, 400} {
		if resp, _ := v.reply(); resp.StatusCode != want {
			t.Errorf("reply %d is %s, want %d", i, resp.Status, want)
		}
	}
	v.ends()
	if got := f.Counts(); got.Fast != 2 || got.Lent != 1 || got.HandedOff != 1 {
		t.Errorf("counts are %+v", got)
	}
}

// trickle sends what is written to it in pieces of a few bytes.
type trickle struct{ net.Conn }

func (t trickle) Write(p []byte) (int, error) {
	for i := 0; i < len(p); i += 7 {
		if n, err := t.Conn.Write(p[i:min(i+7, len(p))]); err != nil {
			return i + n, err
		}
	}
	return len(p), nil
}

func TestTLSRecordsMayArriveInPieces(t *testing.T) {
	change, client := withTLS(t)
	f, _, _ := startFront(t, newTestSite(t), change)
	v := dialAddr(t, f.https.listener.Addr())
	secure := tls.Client(trickle{v.Conn}, client)
	v.Conn = secure
	v.r.Reset(secure)
	for range 3 {
		v.send(http1test.Browsers()["chrome"] + get("/never"))
		for range 2 {
			if resp, _ := v.reply(); resp.StatusCode != 200 {
				t.Fatal(resp.Status)
			}
		}
	}
}

func TestManyPipelinedRequestsOverTLSAreAnsweredInOrder(t *testing.T) {
	change, client := withTLS(t)
	f, _, _ := startFront(t, newTestSite(t), change)
	v := dialTLS(t, f, client)
	const rounds = 300
	go func() { // more than the socket holds: replies must wait for the reader
		for range rounds {
			io.WriteString(v, get("/")+get("/gone")+get("/never")+get("/"))
		}
	}()
	time.Sleep(50 * time.Millisecond) // so that more must wait
	for i := range rounds {
		for _, want := range []int{200, 410, 200, 200} {
			if resp, _ := v.reply(); resp.StatusCode != want {
				t.Fatalf("round %d: %s, want %d", i, resp.Status, want)
			}
		}
	}
}

func TestTLSConnectionsEndAsTheyShould(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for a second")
	}
	change, client := withTLS(t)
	f, _, _ := startFront(t, newTestSite(t), change)
	for name, text := range map[string]string{
		"close":       get("/", "Connection: close"),
		"1.0":         lines("GET / HTTP/1.0", hostLine),
		"lent close":  get("/never", "Connection: close"),
		"given close": get("/", "Connection: x, close"),
	} {
		v := dialTLS(t, f, client)
		v.send(text)
		if resp, _ := v.reply(); resp.StatusCode != 200 || !resp.Close {
			t.Errorf("%s: %s, last: %v", name, resp.Status, resp.Close)
		}
		v.ends() // with close_notify, or there would be an error
	}
	until(t, "all leave the table", func() bool { return f.Counts().Open == 0 })
}

func TestSlowTLSClientsAreCutOff(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for timeouts")
	}
	change, client := withTLS(t)
	f, _, _ := startFront(t, newTestSite(t), change, func(cfg *Config) {
		cfg.HeaderTimeout, cfg.IdleTimeout, cfg.WriteTimeout = 500*time.Millisecond, 400*time.Millisecond, 300*time.Millisecond
	})
	idle, reader := dialTLS(t, f, client), dialTLS(t, f, client)
	silent, half := dialAddr(t, f.https.listener.Addr()), dialAddr(t, f.https.listener.Addr())
	half.send("\x16\x03\x01\x02\x00\x01\x00") // the beginning of a handshake
	idle.send(get("/"))
	idle.reply()
	go func() { // never reads
		for {
			if _, err := io.WriteString(reader, strings.Repeat(get("/"), 100)); err != nil {
				return
			}
		}
	}()
	for name, v := range map[string]*testClient{"silent": silent, "half": half, "idle": idle} {
		if n, err := v.r.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
	}
	until(t, "all are cut off", func() bool { return f.Counts().Open == 0 })
}

func TestTheHandlerNoticesThatATLSClientHasGone(t *testing.T) {
	gone := make(chan struct{})
	change, client := withTLS(t)
	f, _, _ := startFront(t, newTestSite(t), change, func(cfg *Config) {
		cfg.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.TLS == nil || r.TLS.ServerName != testHost {
				t.Errorf("the request came over TLS: %+v", r.TLS)
			}
			<-r.Context().Done()
			close(gone)
		})
	})
	v := dialTLS(t, f, client)
	v.send(get("/never"))
	until(t, "it is being answered", func() bool { return f.Counts().InFlight == 1 })
	v.Close() // sends close_notify before FIN
	<-gone
}

func TestStrictTransportSecurityIsSentOnce(t *testing.T) {
	change, client := withTLS(t, func(cfg *HTTPSConfig) { cfg.StrictTransport = "max-age=600" })
	f, _, _ := startFront(t, newTestSite(t), change)
	v := dialTLS(t, f, client)
	for _, target := range []string{"/", "/never"} {
		v.send(get(target))
		if resp, _ := v.reply(); strings.Join(resp.Header["Strict-Transport-Security"], "|") != "max-age=600" {
			t.Errorf("%s: %v", target, resp.Header)
		}
	}
	plain := dialFront(t, f)
	plain.send(get("/"))
	if resp, _ := plain.reply(); resp.Header["Strict-Transport-Security"] != nil {
		t.Error("it is sent without TLS")
	}
}

func TestTicketsAreForTLS13AndHoldOnTwoBoards(t *testing.T) {
	keys := [][32]byte{{1}, {2}}
	var boards []*Front
	change, client := withTLS(t)
	for range 2 {
		f, _, _ := startFront(t, newTestSite(t), change)
		f.SetTicketKeys(keys)
		boards = append(boards, f)
	}
	for _, c := range []struct {
		version uint16
		resumes bool
	}{{tls.VersionTLS13, true}, {tls.VersionTLS12, false}} {
		cfg := client.Clone()
		cfg.MaxVersion, cfg.ClientSessionCache = c.version, tls.NewLRUClientSessionCache(4)
		for i, f := range boards {
			v := dialTLS(t, f, cfg)
			v.send(get("/"))
			v.reply()
			if got := v.Conn.(*tls.Conn).ConnectionState().DidResume; got != (c.resumes && i > 0) {
				t.Errorf("version %x, board %d: resumed: %v", c.version, i, got)
			}
		}
	}
	boards[1].SetTicketKeys([][32]byte{{3}})
	cfg := client.Clone()
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for _, f := range boards {
		v := dialTLS(t, f, cfg)
		v.send(get("/"))
		v.reply()
		if v.Conn.(*tls.Conn).ConnectionState().DidResume {
			t.Error("a ticket is good on a board that does not know its key")
		}
	}
}

func TestHTTP2IsServedAndBounded(t *testing.T) {
	change, client := withTLS(t)
	f, stop, served := startFront(t, newTestSite(t), change, func(cfg *Config) { cfg.MaxConnections = 4 }) // two of which may speak HTTP/2
	wants := func(proto string) *http.Client {
		cfg := client.Clone()
		var protocols http.Protocols
		protocols.SetHTTP1(true)
		protocols.SetHTTP2(true)
		tr := &http.Transport{TLSClientConfig: cfg, Protocols: &protocols}
		t.Cleanup(tr.CloseIdleConnections)
		c := &http.Client{Transport: tr, Timeout: 20 * time.Second}
		for _, path := range []string{"/", "/never", "/gone"} {
			r, err := http.NewRequest("GET", "https://"+f.https.listener.Addr().String()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = testHost
			resp, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.Proto != proto {
				t.Errorf("%s came over %s, want %s", path, resp.Proto, proto)
			}
		}
		return c
	}
	wants("HTTP/2.0")
	second := wants("HTTP/2.0")
	wants("HTTP/1.1")
	if got := f.Counts(); got.TLS.HTTP2 != 2 || got.Fast != 2 || got.Open != 3 {
		t.Errorf("counts are %+v", got)
	}
	second.CloseIdleConnections()
	until(t, "there is room again", func() bool { return f.Counts().TLS.HTTP2 == 1 })
	wants("HTTP/2.0")
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if got := f.Counts(); got.Open != 0 || got.TLS.HTTP2 != 0 {
		t.Errorf("after the stop counts are %+v", got)
	}
}

func TestAClientHelloIsWholeOrWrong(t *testing.T) {
	hello := helloOf(t)
	if len(hello) < 200 || hello[0] != recordHandshake || !isCompleteClientHello(hello) {
		t.Fatalf("%d bytes that begin with %x are no ClientHello", len(hello), hello[:min(recordHeaderSize, len(hello))])
	}
	var pieces []byte // the same, one byte per record
	for i, b := range hello[recordHeaderSize:] {
		pieces = append(pieces, recordHandshake, 3, 1, 0, 1, b)
		if whole := i == len(hello)-recordHeaderSize-1; isCompleteClientHello(pieces) != whole {
			t.Fatalf("of %d bytes in records of their own the first %d are whole: %v", len(hello)-recordHeaderSize, i+1, !whole)
		}
	}
	for n := range hello {
		if isCompleteClientHello(hello[:n]) {
			t.Fatalf("the first %d of %d bytes are whole", n, len(hello))
		}
	}
	for _, wrong := range []string{
		"GET / HTTP/1.1", "\x16\x03\x01\x00\x00", "\x16\x03\x01\xff\xff", "\x16\x03\x01\x00\x04\x02\x00\x00\x09", "\x15\x03\x01\x00\x02",
		strings.Repeat("\x16\x03\x01\x00\x01\x01", maxRecord/6+1),
	} {
		if !isCompleteClientHello([]byte(wrong)) {
			t.Errorf("more is expected of %.20q", wrong)
		}
	}
}

// helloOf returns a ClientHello.
func helloOf(t *testing.T) []byte {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	go func() {
		_ = tls.Client(there, &tls.Config{ServerName: testHost}).Handshake() // it fails when here is closed
	}()
	if err := here.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	hello := make([]byte, maxRecord)
	n, err := here.Read(hello)
	if err != nil {
		t.Fatal(err)
	}
	return hello[:n]
}

// Clients whose ClientHello arrives in pieces, or never ends, take no permit.
func TestHalfAClientHelloTakesNoSlot(t *testing.T) {
	change, client := withTLS(t, func(cfg *HTTPSConfig) { cfg.Handshakes = 1 })
	f, _, _ := startFront(t, newTestSite(t), change)
	permits := max(runtime.GOMAXPROCS(0)/2, 1)
	for range permits {
		if err := f.https.handshakes.Acquire(admission.ClientKey{}, true); err != nil {
			t.Fatal(err)
		}
	}
	compute := sync.OnceFunc(func() {
		for range permits {
			f.https.handshakes.Release()
		}
	})
	defer compute()
	hello := helloOf(t)
	var slow []*testClient
	for range 8 {
		v := dialAddr(t, f.https.listener.Addr())
		v.send(string(hello[:len(hello)-1]))
		slow = append(slow, v)
	}
	until(t, "all have begun", func() bool { return f.conns.countIn(stateHandshake) == 8 })
	slow[0].send(string(hello[len(hello)-1:]))
	until(t, "one wants a permit", func() bool { return f.https.handshakes.Waiting() == 1 })
	compute()
	v := dialTLS(t, f, client)
	v.send(get("/"))
	v.reply()
	if got := f.Counts().TLS; got.Refused != 0 || got.Failed != 0 || got.Handshakes != 1 {
		t.Errorf("counts are %+v", got)
	}
}

// Of the clients that begin a handshake and do not go on, the board waits only for the
// last few; a client that goes on is served.
func TestStalledHandshakesAreEvicted(t *testing.T) {
	t.Parallel()
	change, client := withTLS(t)
	f, _, _ := startFront(t, newTestSite(t), change, func(cfg *Config) { cfg.HeaderTimeout = time.Minute })
	f.https.maxAnswering = 4
	hello := string(helloOf(t))
	var stuck []*testClient
	for range 6 {
		v := dialAddr(t, f.https.listener.Addr())
		v.send(hello)
		if _, err := v.r.Peek(recordHeaderSize); err != nil { // the server has sent its part
			t.Fatal(err)
		}
		stuck = append(stuck, v)
		until(t, "it is waited for", func() bool {
			f.conns.mu.Lock()
			defer f.conns.mu.Unlock()
			return slices.ContainsFunc(f.conns.conns, func(c *conn) bool {
				return c.socket.RemoteAddr().String() == v.LocalAddr().String() && f.https.answering.Has(&c.waitEntry)
			})
		})
	}
	for _, v := range stuck[:2] {
		if _, err := io.Copy(io.Discard, v.r); os.IsTimeout(err) {
			t.Error("one of the first is there still")
		}
	}
	until(t, "the others are there", func() bool { return f.Counts().Open == 4 })
	v := dialTLS(t, f, client)
	v.send(get("/"))
	v.reply()
	if got := f.Counts().TLS; got.Handshakes != 1 || got.Failed != 3 { // the board waited for it too
		t.Errorf("counts are %+v", got)
	}
}

// Of many clients that begin at once each is served or closed, and every permit is released.
func TestManyHandshakesAtOnce(t *testing.T) {
	change, client := withTLS(t, func(cfg *HTTPSConfig) { cfg.Handshakes = 4 })
	f, _, _ := startFront(t, newTestSite(t), change)
	var all sync.WaitGroup
	for range 60 {
		all.Go(func() {
			c, err := tls.Dial("tcp", f.https.listener.Addr().String(), client)
			if err != nil {
				return
			}
			defer c.Close()
			fmt.Fprint(c, get("/", "Connection: close"))
			if text, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 200") {
				t.Errorf("a client that was served got %.80q, %v", text, err)
			}
		})
	}
	all.Wait()
	until(t, "all leave", func() bool { return f.Counts().Open == 0 })
	got := f.Counts().TLS
	if got.Handshakes == 0 || got.Handshakes+got.Refused+got.Failed != 60 {
		t.Errorf("counts are %+v", got)
	}
	if h := f.https.handshakes; h.Held() != 0 || h.Waiting() != 0 {
		t.Errorf("%d permits are held, %d handshakes wait", h.Held(), h.Waiting())
	}
	v := dialTLS(t, f, client)
	v.send(get("/"))
	v.reply()
}

func TestTLSWithoutAFastPathIsNetHTTPs(t *testing.T) {
	change, client := withTLS(t)
	f, _, _ := startFront(t, newTestSite(t), change, func(cfg *Config) { cfg.FastHandler = nil })
	v := dialTLS(t, f, client)
	for range 2 {
		v.send(get("/"))
		if resp, _ := v.reply(); resp.StatusCode != 200 {
			t.Error(resp.Status)
		}
	}
	if got := f.Counts(); got.HandedOff != 1 || got.Fast != 0 || got.Replies != 2 {
		t.Errorf("counts are %+v", got)
	}
}

func TestRateLimitsHoldOverTLS(t *testing.T) {
	change, client := withTLS(t)
	f, _, _ := startFront(t, newTestSite(t), change, func(cfg *Config) { cfg.ClientRequests = 1 })
	v := dialTLS(t, f, client)
	v.send(get("/") + get("/never") + get("/") + get("/"))
	for i, want := range []int{200, 200, 503} {
		if resp, body := v.reply(); resp.StatusCode != want || want == 503 && !strings.HasSuffix(body, "</html>") {
			t.Errorf("reply %d is %s %q", i, resp.Status, body)
		}
	}
	v.ends()
	c := dialHTTP2(t, f, client, 1<<20)
	const sent = 10 // far more than two seconds' worth
	for i := range uint32(sent) {
		if err := c.ask(2*i+1, "/"); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	fields := hpack.NewDecoder(4096, func(field hpack.HeaderField) {
		if field.Name == ":status" {
			got = append(got, field.Value)
		}
	})
	for len(got) < sent {
		frame, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if head, ok := frame.(*http2.HeadersFrame); ok {
			if _, err := fields.Write(head.HeaderBlockFragment()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !slices.Contains(got, "503") { // and the connection goes on after it
		t.Errorf("over HTTP/2 it gets %v", got)
	}
}

// Beyond MaxConnections there is no refusal: one would take a handshake.
func TestBeyondMaxConnectionsTLSIsClosed(t *testing.T) {
	change, client := withTLS(t)
	f, _, _ := startFront(t, newTestSite(t), change, func(cfg *Config) { cfg.MaxConnections = 1 })
	first := dialTLS(t, f, client)
	first.send(get("/"))
	first.reply()
	second := dialAddr(t, f.https.listener.Addr())
	if n, err := second.r.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("the second gets %d bytes, %v", n, err)
	}
	if got := f.Counts(); got.Refused != 1 || got.TLS.Handshakes != 1 {
		t.Errorf("counts are %+v", got)
	}
}

func TestInputThatIsNoHandshakeEndsTheConnection(t *testing.T) {
	change, client := withTLS(t)
	f, _, _ := startFront(t, newTestSite(t), change)
	for in, want := range map[string]string{
		get("/"): wrongPort,
		"SSH-2.0-x\r\n and some more of it, whatever it may be":                         "",
		"\x16\x03\x01\xff\xff" + strings.Repeat("a", 100):                               "",
		"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + strings.Repeat("\x00", 60):     "",
		"\x16\x03\x01\x00\x04\x01\x00\x00\x00\x16\x03\x01\x00\x04\x01\x00\x00\x00":      "",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00 and more": "",
	} {
		v := dialAddr(t, f.https.listener.Addr())
		v.send(in)
		if err := v.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		// A socket that is closed over unread bytes is reset.
		out, _ := io.ReadAll(v.r)
		if !strings.Contains(string(out), want) || want == "" && len(out) > 7 {
			t.Errorf("to %.40q it gets %q", in, out)
		}
	}
	until(t, "all leave", func() bool { return f.Counts().Open == 0 })
	if got := f.Counts().TLS; got.Failed != 6 || f.https.handshakes.Held() != 0 {
		t.Errorf("counts are %+v", got)
	}
	v := dialTLS(t, f, client)
	v.send(get("/"))
	v.reply()
}

// A record that is broken gets an alert, and ends the connection.
func TestABrokenRecordEndsTheConnection(t *testing.T) {
	change, client := withTLS(t)
	f, _, _ := startFront(t, newTestSite(t), change)
	v := dialTLS(t, f, client)
	v.send(get("/"))
	v.reply()
	inner := v.Conn.(*tls.Conn).NetConn()
	if _, err := inner.Write([]byte("\x17\x03\x03\x00\x20" + strings.Repeat("x", 32))); err != nil {
		t.Fatal(err)
	}
	if out, err := io.ReadAll(v.r); len(out) != 0 || err == nil || !strings.Contains(err.Error(), "bad record MAC") {
		t.Errorf("it gets %q, %v; want an alert", out, err)
	}
	until(t, "it leaves", func() bool { return f.Counts().Open == 0 })
}
