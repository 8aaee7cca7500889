// Package http1test has requests for tests: those of browsers, and those of clients that
// are wrong, unusual or hostile.
package http1test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Host is the host that the requests are for, and HostLine its field.
const (
	Host     = "shop.test"
	HostLine = "Host: " + Host
)

// Lines joins the lines of a request's header.
func Lines(all ...string) string { return strings.Join(all, "\r\n") + "\r\n\r\n" }

// Get returns a request for a page, with more fields.
func Get(target string, more ...string) string {
	return Lines(append([]string{"GET " + target + " HTTP/1.1", HostLine}, more...)...)
}

// Browsers returns requests as real browsers send them to a shop, fields in their order.
func Browsers() map[string]string {
	return map[string]string{
		"chrome": Lines("GET / HTTP/1.1", HostLine, "Connection: keep-alive", "Cache-Control: max-age=0", "DNT: 1",
			"Upgrade-Insecure-Requests: 1",
			"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
			"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
			`sec-ch-ua: "Chromium";v="141", "Not?A_Brand";v="8"`, "sec-ch-ua-mobile: ?0", `sec-ch-ua-platform: "Linux"`,
			"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate", "Sec-Fetch-User: ?1", "Sec-Fetch-Dest: document",
			"Referer: http://shop.test/gz", "Accept-Encoding: gzip, deflate, br, zstd", "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
			"Cookie: seen=1; theme=dark; visit=4f0c2a9e8b7d"),
		"chrome-reload": Lines("GET / HTTP/1.1", HostLine, "Connection: keep-alive", "Cache-Control: max-age=0",
			"User-Agent: Mozilla/5.0", "Accept-Encoding: gzip, deflate", "Accept-Language: en",
			`If-None-Match: "front"`, "If-Modified-Since: Tue, 28 Feb 2012 06:00:00 GMT"),
		"firefox": Lines("GET /gz HTTP/1.1", HostLine,
			"User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0",
			"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
			"Accept-Language: en-US,en;q=0.5", "Accept-Encoding: gzip, deflate", "Connection: keep-alive",
			"Upgrade-Insecure-Requests: 1", "Sec-GPC: 1", "Priority: u=0, i"),
		"safari": Lines("GET / HTTP/1.1", HostLine, "Upgrade-Insecure-Requests: 1",
			"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
			"User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
			"Accept-Language: en-GB,en;q=0.9", "Accept-Encoding: gzip, deflate", "Connection: keep-alive"),
		"curl":  Lines("GET / HTTP/1.1", HostLine, "User-Agent: curl/8.10.1", "Accept: */*"),
		"ab":    Lines("GET / HTTP/1.0", "Connection: Keep-Alive", HostLine, "User-Agent: ApacheBench/2.3", "Accept: */*"),
		"wrk":   Lines("GET / HTTP/1.1", HostLine),
		"proxy": Lines("GET / HTTP/1.1", HostLine, "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: http", "X-Real-IP: 192.0.2.1"),
	}
}

// OwnCookie returns a browser's request with a cookie that no other client has.
func OwnCookie() []byte {
	return []byte(strings.Replace(Browsers()["chrome"], "visit=4f0c2a9e8b7d", fmt.Sprintf("visit=%012x", rand.Uint64()>>16), 1))
}

// Continuation is what must become of a connection after a Seed's bytes.
type Continuation uint8

const (
	Wait    Continuation = iota // it waits for more
	Lend                        // net/http answers the next request
	HandOff                     // net/http gets the connection
	Close                       // it ends
)

// Seed is a client's bytes and what the fast path does with them.
type Seed struct {
	In      string
	Replies int // from memory
	Then    Continuation
}

// Inputs returns the bytes of all seeds and browsers.
func Inputs() [][]byte {
	var all [][]byte
	for _, s := range Seeds() {
		all = append(all, []byte(s.In))
	}
	for _, in := range Browsers() {
		all = append(all, []byte(in))
	}
	return all
}

// Seeds returns the seeds by name. The pages that they request are in memory, except
// where the name says otherwise.
func Seeds() map[string]Seed {
	get := func(more ...string) string { return Lines(append([]string{"GET / HTTP/1.1", HostLine}, more...)...) }
	return map[string]Seed{
		"get":                  {get(), 1, Wait},
		"head":                 {Lines("HEAD / HTTP/1.1", HostLine), 1, Wait},
		"head 304":             {Lines("HEAD / HTTP/1.1", HostLine, `If-None-Match: "front"`), 1, Wait},
		"close":                {get("Connection: close"), 1, Close},
		"close, any case":      {get("connection: Close"), 1, Close},
		"1.0":                  {Lines("GET / HTTP/1.0", HostLine), 1, Close},
		"1.0 keep-alive":       {Lines("GET / HTTP/1.0", HostLine, "Connection: keep-alive"), 1, Wait},
		"1.0 close":            {Lines("GET / HTTP/1.0", HostLine, "Connection: close"), 1, Close},
		"1.0 head 304":         {Lines("HEAD / HTTP/1.0", HostLine, "Connection: keep-alive", `If-None-Match: *`), 1, Wait},
		"1.0 no host":          {Lines("GET / HTTP/1.0"), 0, HandOff},
		"1.2":                  {Lines("GET / HTTP/1.2", HostLine), 0, HandOff},
		"0.9":                  {"GET /\r\n", 0, HandOff},
		"http/2 preface":       {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, HandOff},
		"tls":                  {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 0, HandOff},
		"etag other":           {get(`If-None-Match: "other"`), 1, Wait},
		"etag list":            {get(`If-None-Match: "a", W/"front"`), 1, Wait},
		"etag empty":           {get(`If-None-Match:`), 1, Wait},
		"etag twice":           {get(`If-None-Match: "a"`, `If-None-Match: "front"`), 0, Lend},
		"since":                {Lines("GET /old HTTP/1.1", HostLine, "If-Modified-Since: Tue, 28 Feb 2012 06:00:00 GMT"), 1, Wait},
		"since later":          {Lines("GET /old HTTP/1.1", HostLine, "If-Modified-Since: Tue, 28 Feb 2012 07:00:00 GMT"), 0, Lend},
		"since of no date":     {Lines("GET /gone HTTP/1.1", HostLine, "If-Modified-Since: x"), 1, Wait},
		"gzip":                 {Lines("GET /gz HTTP/1.1", HostLine, "Accept-Encoding: gzip"), 1, Wait},
		"gzip, not plain":      {Lines("GET /gz HTTP/1.1", HostLine, "Accept-Encoding: gzip, identity;q=0"), 0, Lend},
		"no gzip":              {Lines("GET /gz HTTP/1.1", HostLine, "Accept-Encoding: br, gzip;q=0"), 1, Wait},
		"encoding twice":       {Lines("GET /gz HTTP/1.1", HostLine, "Accept-Encoding: br", "Accept-Encoding: gzip"), 0, Lend},
		"language":             {Lines("GET /lang HTTP/1.1", HostLine, "Accept-Language: en"), 0, Lend},
		"no type":              {Lines("GET /notype HTTP/1.1", HostLine), 0, Lend},
		"via":                  {Lines("GET /via HTTP/1.1", HostLine), 1, Wait},
		"empty":                {Lines("GET /empty HTTP/1.1", HostLine), 1, Wait},
		"gone":                 {Lines("GET /gone HTTP/1.1", HostLine, `If-None-Match: *`), 1, Wait},
		"moved":                {Lines("GET /moved HTTP/1.1", HostLine), 1, Wait},
		"escape":               {Lines("GET /a%2Fb HTTP/1.1", HostLine), 1, Wait},
		"escape, lower case":   {Lines("GET /a%2fb HTTP/1.1", HostLine), 0, Lend},
		"escape of nothing":    {Lines("GET /a%zzb HTTP/1.1", HostLine), 0, HandOff},
		"escape cut off":       {Lines("GET /% HTTP/1.1", HostLine), 0, HandOff},
		"escaped NUL":          {Lines("GET /%00 HTTP/1.1", HostLine), 0, Lend},
		"query":                {Lines("GET /q?x=1&y=%20 HTTP/1.1", HostLine), 1, Wait},
		"empty query":          {Lines("GET /e? HTTP/1.1", HostLine), 1, Wait},
		"dots":                 {Lines("GET /../ HTTP/1.1", HostLine), 0, Lend},
		"two slashes":          {Lines("GET // HTTP/1.1", HostLine), 0, HandOff},
		"fragment":             {Lines("GET /#a HTTP/1.1", HostLine), 0, HandOff},
		"backslash":            {Lines(`GET /\ HTTP/1.1`, HostLine), 0, HandOff},
		"umlaut":               {Lines("GET /\u00fc HTTP/1.1", HostLine), 0, HandOff},
		"asterisk":             {Lines("GET * HTTP/1.1", HostLine), 0, HandOff},
		"absolute-form":        {Lines("GET http://shop.test/ HTTP/1.1", HostLine), 0, HandOff},
		"absolute, other host": {Lines("GET http://evil.test/ HTTP/1.1", HostLine), 0, HandOff},
		"no slash":             {Lines("GET index.html HTTP/1.1", HostLine), 0, HandOff},
		"no target":            {Lines("GET  HTTP/1.1", HostLine), 0, HandOff},
		"tab for space":        {Lines("GET\t/ HTTP/1.1", HostLine), 0, HandOff},
		"two spaces":           {Lines("GET  / HTTP/1.1", HostLine), 0, HandOff},
		"space at the end":     {Lines("GET / HTTP/1.1 ", HostLine), 0, HandOff},
		"lower-case method":    {Lines("get / HTTP/1.1", HostLine), 0, HandOff},
		"lower-case version":   {Lines("GET / http/1.1", HostLine), 0, HandOff},
		"method override":      {get("X-HTTP-Method-Override: DELETE"), 0, Lend},
		"leading CRLF":         {"\r\n" + get(), 0, HandOff},
		"leading space":        {" " + get(), 0, HandOff},
		"bare LF":              {"GET / HTTP/1.1\nHost: shop.test\n\n", 0, HandOff},
		"bare LF in a field":   {"GET / HTTP/1.1\r\nHost: shop.test\r\nAccept: a\nX: b\r\n\r\n", 0, HandOff},
		"bare LF at the end":   {"GET / HTTP/1.1\r\nHost: shop.test\r\n\n", 0, HandOff},
		"bare CR":              {"GET / HTTP/1.1\r\nHost: shop.test\r\nAccept: a\rX: b\r\n\r\n", 0, HandOff},
		"CR CR LF":             {"GET / HTTP/1.1\r\nHost: shop.test\r\r\n\r\n", 0, HandOff},
		"NUL in a value":       {get("Accept: a\x00b"), 0, HandOff},
		"NUL in a name":        {get("Acc\x00ept: a"), 0, HandOff},
		"DEL in a value":       {get("Accept: a\x7fb"), 0, HandOff},
		"control in a value":   {get("Accept: a\x1fb, and then some more to read"), 0, HandOff},
		"tab in a value":       {get("Accept: a\tb"), 1, Wait},
		"umlaut in a value":    {get("User-Agent: \u00fc"), 1, Wait},
		"space before colon":   {get("Accept : a"), 0, HandOff},
		"space in a name":      {get("Acc ept: a"), 0, HandOff},
		"no name":              {get(": a"), 0, HandOff},
		"no colon":             {get("Accept"), 0, HandOff},
		"obs-fold":             {get("Accept: a", " b"), 0, HandOff},
		"obs-fold, tab":        {get("Accept: a", "\tTransfer-Encoding: chunked"), 0, HandOff},
		"obs-fold first":       {Lines("GET / HTTP/1.1", " "+HostLine), 0, HandOff},
		"no host":              {Lines("GET / HTTP/1.1"), 0, HandOff},
		"empty host":           {Lines("GET / HTTP/1.1", "Host:"), 0, HandOff},
		"host twice":           {get("Host: shop.test"), 0, HandOff},
		"host twice, other":    {get("host: evil.test"), 0, HandOff},
		"host list":            {Lines("GET / HTTP/1.1", "Host: shop.test, evil.test"), 0, HandOff},
		"host with path":       {Lines("GET / HTTP/1.1", "Host: shop.test/x"), 0, HandOff},
		"host with user":       {Lines("GET / HTTP/1.1", "Host: me@shop.test"), 0, HandOff},
		"host with port":       {Lines("GET / HTTP/1.1", "Host: SHOP.test.:80"), 1, Wait},
		"host with odd port":   {Lines("GET / HTTP/1.1", "Host: shop.test:99999"), 0, Lend},
		"host of IPv6":         {Lines("GET / HTTP/1.1", "Host: [::1]:8080"), 1, Wait},
		"host of half IPv6":    {Lines("GET / HTTP/1.1", "Host: [::1"), 0, Lend},
		"content-length 0":     {get("Content-Length: 0"), 0, HandOff},
		"content-length":       {get("Content-Length: 5") + "hello", 0, HandOff},
		"two lengths":          {get("Content-Length: 5", "Content-Length: 6") + "hello!", 0, HandOff},
		"huge length":          {get("Content-Length: 99999999999999999999"), 0, HandOff},
		"signed length":        {get("Content-Length: +5") + "hello", 0, HandOff},
		"CL.TE":                {get("Content-Length: 6", "Transfer-Encoding: chunked") + "0\r\n\r\nG", 0, HandOff},
		"TE.CL":                {get("Transfer-Encoding: chunked", "Content-Length: 4") + "5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n", 0, HandOff},
		"TE.TE":                {get("Transfer-Encoding: chunked", "Transfer-encoding: cow") + "0\r\n\r\n", 0, HandOff},
		"TE xchunked":          {get("Transfer-Encoding: xchunked"), 0, HandOff},
		"TE with a space":      {get("Transfer-Encoding : chunked"), 0, HandOff},
		"TE with a tab":        {get("Transfer-Encoding:\tchunked") + "0\r\n\r\n", 0, HandOff},
		"TE underscore":        {get("Transfer_Encoding: chunked"), 0, Lend},
		"TE vertical tab":      {get("Transfer-Encoding: \x0bchunked"), 0, HandOff},
		"expect":               {get("Expect: 100-continue"), 0, HandOff},
		"upgrade":              {get("Connection: Upgrade", "Upgrade: websocket"), 0, HandOff},
		"h2c":                  {get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"), 0, HandOff},
		"connection list":      {get("Connection: keep-alive, close"), 0, HandOff},
		"connection hides":     {get("Connection: Host"), 0, HandOff},
		"trailer":              {get("Trailer: X"), 0, HandOff},
		"websocket key":        {get("Sec-WebSocket-Key: x"), 0, HandOff},
		"range":                {get("Range: bytes=0-1"), 0, Lend},
		"if-match":             {get(`If-Match: "front"`), 0, Lend},
		"authorization":        {get("Authorization: Basic eDp5"), 0, Lend},
		"only-if-cached":       {get("Cache-Control: only-if-cached"), 1, Wait},
		"no-cache":             {get("Cache-Control: no-cache", "Pragma: no-cache"), 1, Wait},
		"unknown field":        {get("X-Anything: 1"), 0, Lend},
		"new sec field":        {get("Sec-Fetch-Storage-Access-And-More-To-Come: none"), 1, Wait},
		"unknown long field":   {get("X-" + strings.Repeat("a", 300) + ": 1"), 0, Lend},
		"many fields":          {get(slices.Repeat([]string{"Accept: a"}, 64)...), 0, Lend},
		"miss":                 {Lines("GET /never HTTP/1.1", HostLine), 0, Lend},
		"post":                 {Lines("POST / HTTP/1.1", HostLine, "Content-Length: 1") + "a", 0, HandOff},
		"nothing":              {"", 0, Wait},
		"half a method":        {"GE", 0, Wait},
		"half a target":        {"GET /a", 0, Wait},
		"half a version":       {"GET / HTT", 0, Wait},
		"half a name":          {"GET / HTTP/1.1\r\nHo", 0, Wait},
		"half a value":         {"GET / HTTP/1.1\r\nHost: sh", 0, Wait},
		"half an end":          {"GET / HTTP/1.1\r\nHost: shop.test\r\n\r", 0, Wait},
		"pipelined":            {strings.Repeat(get(), 3), 3, Wait},
		"pipelined, many":      {strings.Repeat(get(), 50) + Lines("HEAD / HTTP/1.1", HostLine), 51, Wait},
		"pipelined heads":      {strings.Repeat(Lines("HEAD / HTTP/1.1", HostLine), 40), 40, Wait},
		"second malformed":     {get() + "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 1, HandOff},
		"second has a body":    {get() + Lines("POST / HTTP/1.1", HostLine, "Content-Length: 2") + "ab" + get(), 1, HandOff},
		"second is unusual":    {get() + get("Range: bytes=0-1") + get(), 1, Lend},
		"second is half":       {get() + "GET / HT", 1, Wait},
		"nothing after close":  {get("Connection: close") + get(), 1, Close},
		"CRLF between":         {get() + "\r\n" + get(), 1, HandOff},
		"other after 1.0":      {Lines("GET / HTTP/1.0", HostLine) + get(), 1, Close},
	}
}
