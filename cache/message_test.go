package cache

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestConditional13_2_2(t *testing.T) {
	const modified = "Last-Modified: Wed, 29 Feb 2012 05:00:00 GMT"
	tests := []struct {
		name   string
		fields []string
		status int
	}{
		{"etag", []string{`If-None-Match: "v1"`}, 304},
		{"weak etag", []string{`If-None-Match: W/"v1"`}, 304},
		{"in a list", []string{`If-None-Match: "a,b", "v1"`}, 304},
		{"in the second line", []string{`If-None-Match: "a"`, `If-None-Match: "v1"`}, 304},
		{"star", []string{"If-None-Match: *"}, 304},
		{"other etag", []string{`If-None-Match: "v2"`}, 200},
		{"not quoted", []string{"If-None-Match: v1"}, 200},
		{"etag before date", []string{`If-None-Match: "v2"`, "If-Modified-Since: Wed, 29 Feb 2012 05:30:00 GMT"}, 200},
		{"same date", []string{"If-Modified-Since: Wed, 29 Feb 2012 05:00:00 GMT"}, 304},
		{"earlier date", []string{"If-Modified-Since: Wed, 29 Feb 2012 04:59:59 GMT"}, 200},
		{"no date", []string{"If-Modified-Since: yesterday"}, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, always(200, "body", "Cache-Control: max-age=60", `Etag: "v1"`, modified, "Content-Type: text/plain"))
			for _, when := range []string{"cold", "stored"} {
				res := b.get(tt.fields...)
				if res.Code != tt.status {
					t.Errorf("%s: status %d, want %d", when, res.Code, tt.status)
				}
				if res.Code == 304 && (res.Body.Len() > 0 || res.Header().Get("Content-Type") != "" || res.Header().Get("Etag") != `"v1"` || res.Header().Get("Cache-Control") == "") {
					t.Errorf("%s: 304 with %v", when, res.Header())
				}
			}
			b.wantFetches(1)
			if b.up.last().Header.Get("If-None-Match") != "" || b.up.last().Header.Get("If-Modified-Since") != "" {
				t.Errorf("a cold page was asked for with the client's conditions")
			}
		})
	}
}

func TestRange14_2(t *testing.T) {
	tests := []struct {
		fields []string
		status int
		body   string
		at     string
	}{
		{[]string{"Range: bytes=0-2"}, 206, "012", "bytes 0-2/10"},
		{[]string{"Range: bytes=7-"}, 206, "789", "bytes 7-9/10"},
		{[]string{"Range: bytes=-2"}, 206, "89", "bytes 8-9/10"},
		{[]string{"Range: bytes=5-99"}, 206, "56789", "bytes 5-9/10"},
		{[]string{"Range: bytes=-99"}, 206, "0123456789", "bytes 0-9/10"},
		{[]string{"Range: bytes=5-99999999999999999999"}, 206, "56789", "bytes 5-9/10"},
		{[]string{"Range: bytes=-99999999999999999999"}, 206, "0123456789", "bytes 0-9/10"},
		{[]string{"Range: bytes=99999999999999999999-"}, 416, "", "bytes */10"},
		{[]string{"Range: bytes=0-9999999999999999999x"}, 200, "0123456789", ""},
		{[]string{"Range: bytes=10-"}, 416, "", "bytes */10"},
		{[]string{"Range: bytes=-0"}, 416, "", "bytes */10"},
		{[]string{"Range: bytes=2-1"}, 200, "0123456789", ""},
		{[]string{"Range: lines=0-1"}, 200, "0123456789", ""},
		{[]string{"Range: bytes=3-4,0-1"}, 200, "0123456789", ""},
		{[]string{"Range: bytes=0-3,2-4"}, 200, "0123456789", ""},
		{[]string{"Range: bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8"}, 200, "0123456789", ""},
		{[]string{"Range: bytes=3-4,20-"}, 206, "34", "bytes 3-4/10"},
		{[]string{"Range: bytes=20-,30-"}, 416, "", "bytes */10"},
		{[]string{"Range: bytes=0-1,x"}, 200, "0123456789", ""},
		{[]string{"Range: bytes=0-1", `If-Range: "v1"`}, 206, "01", "bytes 0-1/10"},
		{[]string{"Range: bytes=0-1", `If-Range: "v2"`}, 200, "0123456789", ""},
		{[]string{"Range: bytes=0-1", `If-Range: W/"v1"`}, 200, "0123456789", ""},
		{[]string{"Range: bytes=0-1", "If-Range: Wed, 29 Feb 2012 05:00:00 GMT"}, 206, "01", "bytes 0-1/10"},
		{[]string{"Range: bytes=0-1", "If-Range: Wed, 29 Feb 2012 05:00:01 GMT"}, 200, "0123456789", ""},
	}
	for _, tt := range tests {
		b := newBench(t, always(200, "0123456789", "Cache-Control: max-age=60", `Etag: "v1"`, "Last-Modified: Wed, 29 Feb 2012 05:00:00 GMT"))
		for _, when := range []string{"cold", "stored"} {
			res := b.get(tt.fields...)
			if res.Code != tt.status || res.Body.String() != tt.body || res.Header().Get("Content-Range") != tt.at {
				t.Errorf("%s %v: got %d %q %q", when, tt.fields, res.Code, res.Body, res.Header().Get("Content-Range"))
			}
		}
		b.wantFetches(1)
	}
}

func TestHopByHop7_6_1(t *testing.T) {
	b := newBench(t, always(200, "x", "Cache-Control: max-age=60", "Connection: X-Mine, close", "X-Mine: 1", "Keep-Alive: 5", "Trailer: X", "X-Stay: 1"))
	for range 2 {
		res := b.get("Connection: X-Leave", "X-Leave: 1", "Te: trailers", "Proxy-Authorization: x", "X-Keep: 1")
		for _, name := range []string{"Connection", "X-Mine", "Keep-Alive", "Trailer"} {
			if res.Header().Get(name) != "" {
				t.Errorf("reply has %s", name)
			}
		}
		if res.Header().Get("X-Stay") != "1" {
			t.Error("reply lost X-Stay")
		}
	}
	up := b.up.last().Header
	for _, name := range []string{"Connection", "X-Leave", "Te", "Proxy-Authorization"} {
		if up.Get(name) != "" {
			t.Errorf("request has %s", name)
		}
	}
	if up.Get("X-Keep") != "1" {
		t.Error("request lost X-Keep")
	}
}

// TestConnectionLiftsNoRule: a field that decides who may have a reply stays even if
// Connection lists it.
func TestConnectionLiftsNoRule(t *testing.T) {
	for _, field := range []string{"Cache-Control: no-store", "Vary: X-A", "Cdn-Cache-Control: no-store", "Set-Cookie: a=b"} {
		name, _, _ := strings.Cut(field, ":")
		b := newBench(t, always(200, "x", "Expires: Wed, 29 Feb 2012 07:00:00 GMT", "Connection: "+name, field))
		b.get("X-A: 1")
		b.get("X-A: 2")
		if n := b.up.fetches.Load(); n != 2 {
			t.Errorf("%s: %d fetches, want 2", field, n)
		}
	}
}

func TestMalformedReplies(t *testing.T) {
	tests := map[string]*http.Response{
		"two lengths":     {StatusCode: 200, ContentLength: -1, Header: http.Header{"Content-Length": {"1", "2"}}},
		"signed length":   {StatusCode: 200, ContentLength: -1, Header: http.Header{"Content-Length": {"+1"}}},
		"NUL":             {StatusCode: 200, Header: http.Header{"X": {"a\x00b"}}},
		"bare CR":         {StatusCode: 200, Header: http.Header{"X": {"a\rb"}}},
		"bare LF":         {StatusCode: 200, Header: http.Header{"X": {"a\nb"}}},
		"name":            {StatusCode: 200, Header: http.Header{"X Y": {"a"}}},
		"informational":   {StatusCode: 103, Header: http.Header{}},
		"status 600":      {StatusCode: 600, Header: http.Header{}},
		"too many fields": {StatusCode: 200, Header: http.Header{"X": {strings.Repeat("x", maxHead)}}},
		"no header":       {StatusCode: 200},
	}
	for name, resp := range tests {
		resp.Body = io.NopCloser(strings.NewReader(""))
		b := newBench(t, script(func(*http.Request) (*http.Response, error) { return resp, nil }))
		if res := b.get(); res.Code != 502 {
			t.Errorf("%s: %d", name, res.Code)
		}
		if b.Stats().Objects != 0 {
			t.Errorf("%s: stored", name)
		}
	}
}

func TestUnsafeMethods4_4(t *testing.T) {
	tests := []struct {
		method  string
		status  int
		field   string
		url     string
		invalid bool
	}{
		{"POST", 200, "", pageURL, true},
		{"FROB", 204, "", pageURL, true},
		{"DELETE", 303, "", pageURL, true},
		{"PROPPATCH", 200, "", pageURL, true},
		{"PROPFIND", 200, "", pageURL, false},
		{"SEARCH", 200, "", pageURL, false},
		{"POST", 500, "", pageURL, false},
		{"POST", 404, "", pageURL, false},
		{"OPTIONS", 200, "", pageURL, false},
		{"POST", 201, "Location: /model-b", "http://shop.example/orders", true},
		{"POST", 200, "Content-Location: " + pageURL, "http://shop.example/orders", true},
		{"POST", 201, "Location: " + pageURL, "http://other.example/", false},
		{"POST", 200, "Content-Location: " + pageURL, "http://other.example/", false},
		{"POST", 201, "Location: //shop.example/model-b", "https://shop.example/orders", false},
		{"POST", 201, "Location: http://shop.example:81/model-b", "http://shop.example/orders", false},
		{"POST", 201, "Location: /model-b#comment-7", "http://shop.example/orders", true},
	}
	for _, tt := range tests {
		up := &fakeUpstream{}
		up.answer = func(_ int64, r *http.Request) (*http.Response, error) {
			if r.Method == "GET" {
				return reply(200, "x", "Cache-Control: max-age=60"), nil
			}
			body, _ := io.ReadAll(r.Body)
			fields := []string{"X: y"}
			if tt.field != "" {
				fields = append(fields, tt.field)
			}
			if tt.status == 204 {
				return reply(tt.status, "", fields...), nil
			}
			return reply(tt.status, "got "+string(body), fields...), nil
		}
		b := newBench(t, up)
		b.get()
		r := request(tt.method, tt.url)
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader("one")), 3
		res := b.do(r)
		if res.Code != tt.status || tt.status != 204 && res.Body.String() != "got one" {
			t.Errorf("%s: %d %q", tt.method, res.Code, res.Body)
		}
		if invalid := !b.HasFresh(plainGet(0)); invalid != tt.invalid || b.Stats().Objects == 0 {
			t.Errorf("%s %d %s at %s: invalid %v, want %v; %d objects", tt.method, tt.status, tt.field, tt.url, invalid, tt.invalid, b.Stats().Objects)
		}
	}
}
