package node

import (
	"testing"
	"time"

	"bramble/cache"
	"bramble/node/front"
	"bramble/node/host"
)

func TestSampledLoad(t *testing.T) {
	began := time.Unix(1_800_000_000, 0)
	for _, tt := range []struct {
		name string
		load func(time.Time) (float64, bool)
		used time.Duration // of processors in two seconds
		want float32
	}{
		{"a board of its own", func(time.Time) (float64, bool) { return .75, true }, time.Second, .75},
		{"whose kernel does not tell", func(time.Time) (float64, bool) { return 0, false }, time.Second, .5},
		{"one of several on a machine", nil, time.Second, .5},
		{"that has several processors", nil, 6 * time.Second, 1},
	} {
		s := sampler{
			start: began, counts: func() front.Counts { return front.Counts{} }, stats: func() cache.Stats { return cache.Stats{} },
			readUsage: func() host.Usage { return host.Usage{CPU: tt.used} }, readLoad: tt.load, last: totals{at: began},
		}
		if v := s.takeSample(began.Add(2 * time.Second)); v.Load != tt.want {
			t.Errorf("%s: load %v, want %v", tt.name, v.Load, tt.want)
		}
	}
}
