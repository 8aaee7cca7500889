package http1

import (
	"testing"

	"bramble/node/front/http1/http1test"
)

func BenchmarkParse(b *testing.B) {
	for _, name := range []string{"wrk", "chrome", "chrome-reload"} {
		in := []byte(http1test.Browsers()[name])
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(in)))
			var r Request
			for b.Loop() {
				if r.Parse(in) != Plain {
					b.Fatal("not Plain")
				}
			}
		})
	}
}
