package cache

import "testing"

// A 304 or a 206 that was not asked for reaches no client and is not stored.
func TestUnaskedRepliesAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name, method, ask, at string
		reply, want           int
	}{
		{"304 unasked", "GET", "", "", 304, 502},
		{"304 to a form", "POST", "", "", 304, 502},
		{"206 unasked", "GET", "", "bytes 0-4/10", 206, 502},
		{"206 to a form", "POST", "", "bytes 0-4/10", 206, 502},
		{"206 to HEAD", "HEAD", "", "bytes 0-4/10", 206, 502},
		{"asked", "GET", "Range: bytes=0-4", "bytes 0-4/10", 206, 206},
		{"shorter", "GET", "Range: bytes=0-9", "bytes 0-4/10", 206, 206},
		{"open end", "GET", "Range: bytes=2-", "bytes 2-6/10", 206, 206},
		{"suffix", "GET", "Range: bytes=-5", "bytes 5-9/10", 206, 206},
		{"longer suffix", "GET", "Range: bytes=-5", "bytes 4-9/10", 206, 206},
		{"unknown size", "GET", "Range: bytes=0-9", "bytes 0-4/*", 206, 206},
		{"other unit, which is not sent upstream", "GET", "Range: items=0-4", "items 0-4/10", 206, 502},
		{"several, which are not sent upstream", "GET", "Range: bytes=0-1,3-4", "bytes 0-4/10", 206, 502},
		{"longer", "GET", "Range: bytes=0-2", "bytes 0-4/10", 206, 502},
		{"elsewhere", "GET", "Range: bytes=0-4", "bytes 5-9/10", 206, 502},
		{"beyond the end", "GET", "Range: bytes=20-24", "bytes 0-4/10", 206, 502},
		{"no Content-Range", "GET", "Range: bytes=0-4", "", 206, 502},
		{"malformed", "GET", "Range: bytes=0-4", "bytes 0-4", 206, 502},
	} {
		fields := []string{"Cache-Control: max-age=60"}
		if tt.at != "" {
			fields = append(fields, "Content-Range: "+tt.at)
		}
		b := newBench(t, always(tt.reply, "01234", fields...))
		var ask []string
		if tt.ask != "" {
			ask = append(ask, tt.ask)
		}
		if res := b.do(request(tt.method, pageURL, ask...)); res.Code != tt.want {
			t.Errorf("%s: %d %q, want %d", tt.name, res.Code, res.Body, tt.want)
		}
		if n := b.Stats().Objects; tt.want == 502 && n != 0 {
			t.Errorf("%s: %d objects are stored", tt.name, n)
		}
	}
}
