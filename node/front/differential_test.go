package front

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// sortFields brings fields into an order that does not hang on who wrote them;
// lines of one name stay in theirs, which means something.
func sortFields(lines []string) {
	slices.SortStableFunc(lines, func(a, b string) int {
		one, _, _ := strings.Cut(a, ":")
		other, _, _ := strings.Cut(b, ":")
		return strings.Compare(one, other)
	})
}

// compare holds the lane against net/http for some bytes.
func (h *house) compare(t *testing.T, in []byte) answered {
	t.Helper()
	lane := h.viaLane(bytes.Clone(in), answerRules{})
	if len(lane.heads) == 0 && lane.next != actionLend {
		return lane // declined: the bytes are net/http's
	}
	full := h.viaNet(in)
	mine, theirs := lane.out, full
	for i, head := range lane.heads {
		var one, other string
		var err error
		if one, mine, err = cutReply(mine, head); err != nil {
			t.Fatalf("reply %d of the lane to %q: %v", i, in, err)
		}
		if other, theirs, err = cutReply(theirs, head); err != nil {
			t.Fatalf("reply %d of net/http to %q, where the lane says %q: %v", i, in, one, err)
		}
		if one != other {
			t.Fatalf("reply %d to %q\nlane:\n%s\nnet/http:\n%s", i, in, one, other)
		}
	}
	switch {
	case len(mine) != 0:
		t.Fatalf("the lane says more than it counted to %q: %q", in, mine)
	case lane.next == actionClose && len(theirs) != 0:
		t.Fatalf("the lane closes after %d replies to %q, net/http says %q", len(lane.heads), in, theirs)
	case lane.next == actionWait && lane.used == len(in) && len(theirs) != 0:
		t.Fatalf("the lane waits after %d replies to %q, net/http says %q", len(lane.heads), in, theirs)
	}
	if lane.next == actionLend {
		h.compareLent(t, in[lane.used:], lane.pending)
	}
	return lane
}

// compareLent: what the lane lends is one request for net/http, to the byte.
func (h *house) compareLent(t *testing.T, in []byte, size int) {
	t.Helper()
	for _, try := range []struct {
		bytes, want int
	}{{size, 1}, {size - 1, 0}} {
		before := h.asked.Load()
		out := h.viaNet(in[:try.bytes])
		if got := int(h.asked.Load() - before); got != try.want && !refusedByNet(out) {
			t.Fatalf("net/http read %d requests in %q, want %d; it said %q", got, in[:try.bytes], try.want, out)
		}
	}
}

// refusedByNet: a Host that net/http does not take, for example.
func refusedByNet(out []byte) bool { return bytes.HasPrefix(out, []byte("HTTP/1.1 400 ")) }

// request puts a request together out of its lines.
func lines(all ...string) string { return strings.Join(all, "\r\n") + "\r\n\r\n" }

const hostLine = "Host: " + testHost

func get(target string, more ...string) string {
	return lines(append([]string{"GET " + target + " HTTP/1.1", hostLine}, more...)...)
}

// browsers are what real browsers send to a shop, in the order in which they do.
func browsers() map[string]string {
	return map[string]string{
		"chrome": lines("GET / HTTP/1.1", hostLine, "Connection: keep-alive", "Cache-Control: max-age=0", "DNT: 1",
			"Upgrade-Insecure-Requests: 1",
			"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
			"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
			`sec-ch-ua: "Chromium";v="141", "Not?A_Brand";v="8"`, "sec-ch-ua-mobile: ?0", `sec-ch-ua-platform: "Linux"`,
			"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate", "Sec-Fetch-User: ?1", "Sec-Fetch-Dest: document",
			"Referer: http://shop.test/gz", "Accept-Encoding: gzip, deflate, br, zstd", "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
			"Cookie: seen=1; theme=dark; visit=4f0c2a9e8b7d"),
		"chrome-reload": lines("GET / HTTP/1.1", hostLine, "Connection: keep-alive", "Cache-Control: max-age=0",
			"User-Agent: Mozilla/5.0", "Accept-Encoding: gzip, deflate", "Accept-Language: en",
			`If-None-Match: "front"`, "If-Modified-Since: Tue, 28 Feb 2012 06:00:00 GMT"),
		"firefox": lines("GET /gz HTTP/1.1", hostLine,
			"User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0",
			"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
			"Accept-Language: en-US,en;q=0.5", "Accept-Encoding: gzip, deflate", "Connection: keep-alive",
			"Upgrade-Insecure-Requests: 1", "Sec-GPC: 1", "Priority: u=0, i"),
		"safari": lines("GET / HTTP/1.1", hostLine, "Upgrade-Insecure-Requests: 1",
			"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
			"User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
			"Accept-Language: en-GB,en;q=0.9", "Accept-Encoding: gzip, deflate", "Connection: keep-alive"),
		"curl":  lines("GET / HTTP/1.1", hostLine, "User-Agent: curl/8.10.1", "Accept: */*"),
		"ab":    lines("GET / HTTP/1.0", "Connection: Keep-Alive", hostLine, "User-Agent: ApacheBench/2.3", "Accept: */*"),
		"wrk":   lines("GET / HTTP/1.1", hostLine),
		"proxy": lines("GET / HTTP/1.1", hostLine, "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: http", "X-Real-IP: 192.0.2.1"),
	}
}

// ownCookie is a browser's request with a cookie that nobody else has.
func ownCookie() []byte {
	return []byte(strings.Replace(browsers()["chrome"], "visit=4f0c2a9e8b7d", fmt.Sprintf("visit=%012x", rand.Uint64()>>16), 1))
}

func TestBrowsersStayInTheLane(t *testing.T) {
	h := newHouse(t)
	for name, in := range browsers() {
		if lane := h.compare(t, []byte(in)); len(lane.heads) != 1 || lane.next != actionWait || lane.used != len(in) {
			t.Errorf("%s: %d replies, next %v, %d of %d bytes", name, len(lane.heads), lane.next, lane.used, len(in))
		}
	}
}

// seed is a client's bytes and what the lane does with them.
type seed struct {
	in      string
	replies int
	next    action
}

func seeds() map[string]seed {
	get := func(more ...string) string { return lines(append([]string{"GET / HTTP/1.1", hostLine}, more...)...) }
	return map[string]seed{
		"get":                  {get(), 1, actionWait},
		"head":                 {lines("HEAD / HTTP/1.1", hostLine), 1, actionWait},
		"head 304":             {lines("HEAD / HTTP/1.1", hostLine, `If-None-Match: "front"`), 1, actionWait},
		"close":                {get("Connection: close"), 1, actionClose},
		"close, any case":      {get("connection: Close"), 1, actionClose},
		"1.0":                  {lines("GET / HTTP/1.0", hostLine), 1, actionClose},
		"1.0 keep-alive":       {lines("GET / HTTP/1.0", hostLine, "Connection: keep-alive"), 1, actionWait},
		"1.0 close":            {lines("GET / HTTP/1.0", hostLine, "Connection: close"), 1, actionClose},
		"1.0 head 304":         {lines("HEAD / HTTP/1.0", hostLine, "Connection: keep-alive", `If-None-Match: *`), 1, actionWait},
		"1.0 no host":          {lines("GET / HTTP/1.0"), 0, actionHandOff},
		"1.2":                  {lines("GET / HTTP/1.2", hostLine), 0, actionHandOff},
		"0.9":                  {"GET /\r\n", 0, actionHandOff},
		"http/2 preface":       {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, actionHandOff},
		"tls":                  {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 0, actionHandOff},
		"etag other":           {get(`If-None-Match: "other"`), 1, actionWait},
		"etag list":            {get(`If-None-Match: "a", W/"front"`), 1, actionWait},
		"etag empty":           {get(`If-None-Match:`), 1, actionWait},
		"etag twice":           {get(`If-None-Match: "a"`, `If-None-Match: "front"`), 0, actionLend},
		"since":                {lines("GET /old HTTP/1.1", hostLine, "If-Modified-Since: Tue, 28 Feb 2012 06:00:00 GMT"), 1, actionWait},
		"since later":          {lines("GET /old HTTP/1.1", hostLine, "If-Modified-Since: Tue, 28 Feb 2012 07:00:00 GMT"), 0, actionLend},
		"since of no date":     {lines("GET /gone HTTP/1.1", hostLine, "If-Modified-Since: x"), 1, actionWait},
		"gzip":                 {lines("GET /gz HTTP/1.1", hostLine, "Accept-Encoding: gzip"), 1, actionWait},
		"gzip, not plain":      {lines("GET /gz HTTP/1.1", hostLine, "Accept-Encoding: gzip, identity;q=0"), 0, actionLend},
		"no gzip":              {lines("GET /gz HTTP/1.1", hostLine, "Accept-Encoding: br, gzip;q=0"), 1, actionWait},
		"encoding twice":       {lines("GET /gz HTTP/1.1", hostLine, "Accept-Encoding: br", "Accept-Encoding: gzip"), 0, actionLend},
		"language":             {lines("GET /lang HTTP/1.1", hostLine, "Accept-Language: en"), 0, actionLend},
		"no type":              {lines("GET /notype HTTP/1.1", hostLine), 0, actionLend},
		"via":                  {lines("GET /via HTTP/1.1", hostLine), 1, actionWait},
		"empty":                {lines("GET /empty HTTP/1.1", hostLine), 1, actionWait},
		"gone":                 {lines("GET /gone HTTP/1.1", hostLine, `If-None-Match: *`), 1, actionWait},
		"moved":                {lines("GET /moved HTTP/1.1", hostLine), 1, actionWait},
		"escape":               {lines("GET /a%2Fb HTTP/1.1", hostLine), 1, actionWait},
		"escape, lower case":   {lines("GET /a%2fb HTTP/1.1", hostLine), 0, actionLend},
		"escape of nothing":    {lines("GET /a%zzb HTTP/1.1", hostLine), 0, actionHandOff},
		"escape cut off":       {lines("GET /% HTTP/1.1", hostLine), 0, actionHandOff},
		"escaped NUL":          {lines("GET /%00 HTTP/1.1", hostLine), 0, actionLend},
		"query":                {lines("GET /q?x=1&y=%20 HTTP/1.1", hostLine), 1, actionWait},
		"empty query":          {lines("GET /e? HTTP/1.1", hostLine), 1, actionWait},
		"dots":                 {lines("GET /../ HTTP/1.1", hostLine), 0, actionLend},
		"two slashes":          {lines("GET // HTTP/1.1", hostLine), 0, actionHandOff},
		"fragment":             {lines("GET /#a HTTP/1.1", hostLine), 0, actionHandOff},
		"backslash":            {lines(`GET /\ HTTP/1.1`, hostLine), 0, actionHandOff},
		"umlaut":               {lines("GET /\u00fc HTTP/1.1", hostLine), 0, actionHandOff},
		"asterisk":             {lines("GET * HTTP/1.1", hostLine), 0, actionHandOff},
		"absolute-form":        {lines("GET http://shop.test/ HTTP/1.1", hostLine), 0, actionHandOff},
		"absolute, other host": {lines("GET http://evil.test/ HTTP/1.1", hostLine), 0, actionHandOff},
		"no slash":             {lines("GET index.html HTTP/1.1", hostLine), 0, actionHandOff},
		"no target":            {lines("GET  HTTP/1.1", hostLine), 0, actionHandOff},
		"tab for space":        {lines("GET\t/ HTTP/1.1", hostLine), 0, actionHandOff},
		"two spaces":           {lines("GET  / HTTP/1.1", hostLine), 0, actionHandOff},
		"space at the end":     {lines("GET / HTTP/1.1 ", hostLine), 0, actionHandOff},
		"lower-case method":    {lines("get / HTTP/1.1", hostLine), 0, actionHandOff},
		"lower-case version":   {lines("GET / http/1.1", hostLine), 0, actionHandOff},
		"method override":      {get("X-HTTP-Method-Override: DELETE"), 0, actionLend},
		"leading CRLF":         {"\r\n" + get(), 0, actionHandOff},
		"leading space":        {" " + get(), 0, actionHandOff},
		"bare LF":              {"GET / HTTP/1.1\nHost: shop.test\n\n", 0, actionHandOff},
		"bare LF in a field":   {"GET / HTTP/1.1\r\nHost: shop.test\r\nAccept: a\nX: b\r\n\r\n", 0, actionHandOff},
		"bare LF at the end":   {"GET / HTTP/1.1\r\nHost: shop.test\r\n\n", 0, actionHandOff},
		"bare CR":              {"GET / HTTP/1.1\r\nHost: shop.test\r\nAccept: a\rX: b\r\n\r\n", 0, actionHandOff},
		"CR CR LF":             {"GET / HTTP/1.1\r\nHost: shop.test\r\r\n\r\n", 0, actionHandOff},
		"NUL in a value":       {get("Accept: a\x00b"), 0, actionHandOff},
		"NUL in a name":        {get("Acc\x00ept: a"), 0, actionHandOff},
		"DEL in a value":       {get("Accept: a\x7fb"), 0, actionHandOff},
		"control in a value":   {get("Accept: a\x1fb, and then some more to read"), 0, actionHandOff},
		"tab in a value":       {get("Accept: a\tb"), 1, actionWait},
		"umlaut in a value":    {get("User-Agent: \u00fc"), 1, actionWait},
		"space before colon":   {get("Accept : a"), 0, actionHandOff},
		"space in a name":      {get("Acc ept: a"), 0, actionHandOff},
		"no name":              {get(": a"), 0, actionHandOff},
		"no colon":             {get("Accept"), 0, actionHandOff},
		"obs-fold":             {get("Accept: a", " b"), 0, actionHandOff},
		"obs-fold, tab":        {get("Accept: a", "\tTransfer-Encoding: chunked"), 0, actionHandOff},
		"obs-fold first":       {lines("GET / HTTP/1.1", " "+hostLine), 0, actionHandOff},
		"no host":              {lines("GET / HTTP/1.1"), 0, actionHandOff},
		"empty host":           {lines("GET / HTTP/1.1", "Host:"), 0, actionHandOff},
		"host twice":           {get("Host: shop.test"), 0, actionHandOff},
		"host twice, other":    {get("host: evil.test"), 0, actionHandOff},
		"host list":            {lines("GET / HTTP/1.1", "Host: shop.test, evil.test"), 0, actionHandOff},
		"host with path":       {lines("GET / HTTP/1.1", "Host: shop.test/x"), 0, actionHandOff},
		"host with user":       {lines("GET / HTTP/1.1", "Host: me@shop.test"), 0, actionHandOff},
		"host with port":       {lines("GET / HTTP/1.1", "Host: SHOP.test.:80"), 1, actionWait},
		"host with odd port":   {lines("GET / HTTP/1.1", "Host: shop.test:99999"), 0, actionLend},
		"host of IPv6":         {lines("GET / HTTP/1.1", "Host: [::1]:8080"), 1, actionWait},
		"host of half IPv6":    {lines("GET / HTTP/1.1", "Host: [::1"), 0, actionLend},
		"content-length 0":     {get("Content-Length: 0"), 0, actionHandOff},
		"content-length":       {get("Content-Length: 5") + "hello", 0, actionHandOff},
		"two lengths":          {get("Content-Length: 5", "Content-Length: 6") + "hello!", 0, actionHandOff},
		"huge length":          {get("Content-Length: 99999999999999999999"), 0, actionHandOff},
		"signed length":        {get("Content-Length: +5") + "hello", 0, actionHandOff},
		"CL.TE":                {get("Content-Length: 6", "Transfer-Encoding: chunked") + "0\r\n\r\nG", 0, actionHandOff},
		"TE.CL":                {get("Transfer-Encoding: chunked", "Content-Length: 4") + "5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n", 0, actionHandOff},
		"TE.TE":                {get("Transfer-Encoding: chunked", "Transfer-encoding: cow") + "0\r\n\r\n", 0, actionHandOff},
		"TE xchunked":          {get("Transfer-Encoding: xchunked"), 0, actionHandOff},
		"TE with a space":      {get("Transfer-Encoding : chunked"), 0, actionHandOff},
		"TE with a tab":        {get("Transfer-Encoding:\tchunked") + "0\r\n\r\n", 0, actionHandOff},
		"TE underscore":        {get("Transfer_Encoding: chunked"), 0, actionLend},
		"TE vertical tab":      {get("Transfer-Encoding: \x0bchunked"), 0, actionHandOff},
		"expect":               {get("Expect: 100-continue"), 0, actionHandOff},
		"upgrade":              {get("Connection: Upgrade", "Upgrade: websocket"), 0, actionHandOff},
		"h2c":                  {get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"), 0, actionHandOff},
		"connection list":      {get("Connection: keep-alive, close"), 0, actionHandOff},
		"connection hides":     {get("Connection: Host"), 0, actionHandOff},
		"trailer":              {get("Trailer: X"), 0, actionHandOff},
		"websocket key":        {get("Sec-WebSocket-Key: x"), 0, actionHandOff},
		"range":                {get("Range: bytes=0-1"), 0, actionLend},
		"if-match":             {get(`If-Match: "front"`), 0, actionLend},
		"authorization":        {get("Authorization: Basic eDp5"), 0, actionLend},
		"only-if-cached":       {get("Cache-Control: only-if-cached"), 1, actionWait},
		"no-cache":             {get("Cache-Control: no-cache", "Pragma: no-cache"), 1, actionWait},
		"unknown field":        {get("X-Anything: 1"), 0, actionLend},
		"new sec field":        {get("Sec-Fetch-Storage-Access-And-More-To-Come: none"), 1, actionWait},
		"unknown long field":   {get("X-" + strings.Repeat("a", 300) + ": 1"), 0, actionLend},
		"many fields":          {get(slices.Repeat([]string{"Accept: a"}, maxFields)...), 0, actionLend},
		"miss":                 {lines("GET /never HTTP/1.1", hostLine), 0, actionLend},
		"post":                 {lines("POST / HTTP/1.1", hostLine, "Content-Length: 1") + "a", 0, actionHandOff},
		"nothing":              {"", 0, actionWait},
		"half a method":        {"GE", 0, actionWait},
		"half a target":        {"GET /a", 0, actionWait},
		"half a version":       {"GET / HTT", 0, actionWait},
		"half a name":          {"GET / HTTP/1.1\r\nHo", 0, actionWait},
		"half a value":         {"GET / HTTP/1.1\r\nHost: sh", 0, actionWait},
		"half an end":          {"GET / HTTP/1.1\r\nHost: shop.test\r\n\r", 0, actionWait},
		"pipelined":            {strings.Repeat(get(), 3), 3, actionWait},
		"pipelined, many":      {strings.Repeat(get(), 50) + lines("HEAD / HTTP/1.1", hostLine), 51, actionWait},
		"pipelined heads":      {strings.Repeat(lines("HEAD / HTTP/1.1", hostLine), 40), 40, actionWait},
		"second malformed":     {get() + "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 1, actionHandOff},
		"second has a body":    {get() + lines("POST / HTTP/1.1", hostLine, "Content-Length: 2") + "ab" + get(), 1, actionHandOff},
		"second is unusual":    {get() + get("Range: bytes=0-1") + get(), 1, actionLend},
		"second is half":       {get() + "GET / HT", 1, actionWait},
		"nothing after close":  {get("Connection: close") + get(), 1, actionClose},
		"CRLF between":         {get() + "\r\n" + get(), 1, actionHandOff},
		"other after 1.0":      {lines("GET / HTTP/1.0", hostLine) + get(), 1, actionClose},
	}
}

func TestTheLaneAndNetHTTPAgree(t *testing.T) {
	h := newHouse(t)
	for name, s := range seeds() {
		if lane := h.compare(t, []byte(s.in)); len(lane.heads) != s.replies || lane.next != s.next {
			t.Errorf("%s: %d replies and then %v, want %d and %v", name, len(lane.heads), lane.next, s.replies, s.next)
		}
	}
}

// Whatever bytes come, the lane says what net/http would, or nothing.
func FuzzTheLaneAndNetHTTPAgree(f *testing.F) {
	for _, s := range seeds() {
		f.Add([]byte(s.in))
	}
	for _, in := range browsers() {
		f.Add([]byte(in))
	}
	h := newHouse(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) <= maxRequest {
			h.compare(t, in)
		}
	})
}

// However a request is cut into packets, the parser never says less than of the
// whole: a beginning is the beginning of something, or is refused as it.
func FuzzBeginningsAreNotJudgedTooSoon(f *testing.F) {
	for _, s := range seeds() {
		f.Add([]byte(s.in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var whole, part request
		want := whole.parse(in)
		for n := range in {
			switch got := part.parse(in[:n]); {
			case got == incomplete:
			case want == incomplete, got == plain && (want != plain || part.size != whole.size), got == lendable && (want != lendable || part.size != whole.size):
				t.Fatalf("%q is %v, and %q is %v", in[:n], got, in, want)
			}
		}
	})
}
