package host

import "testing"

func TestOverload(t *testing.T) {
	for _, tt := range []struct {
		name         string
		missed, load float64
		want         float64
	}{
		{"idle", 0, 0, 0},
		{"busy and healthy", 0, 1, 0},
		{"busy, one reply missed", .14, 1, 0},
		{"busy, half of its replies missed", .5, 1, .5},
		{"busy, and hears nothing", 1, 1, 1},
		{"idle, and hears nothing: the cable is cut", 1, .1, 0},
	} {
		if got := Overload(tt.missed, tt.load); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
