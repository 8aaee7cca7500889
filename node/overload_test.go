package node

import "testing"

func TestStrain(t *testing.T) {
	for _, tt := range []struct {
		name         string
		unwell, load float64
		want         float64
	}{
		{"nothing to do", 0, 0, 0},
		{"busy and well", 0, 1, 0},
		{"busy, one answer missed", .14, 1, 0},
		{"busy, half of its answers missed", .5, 1, .5},
		{"busy, and hears nobody", 1, 1, 1},
		{"hears nobody and has nothing to do: the wire is cut", 1, .1, 0},
	} {
		if got := overloadLevel(tt.unwell, tt.load); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
