package orderstest

import (
	"path/filepath"
	"testing"
	"time"
)

// TestTheJudge: a judge that lets everything pass is none.
func TestTheJudge(t *testing.T) {
	type step struct {
		press Press
		told  Told
		paper string
	}
	for _, tt := range []struct {
		name  string
		steps []step
		want  bool
	}{
		{"one unit, one order", []step{{Press{0, ""}, Taken, "a"}, {Press{1, ""}, SoldOut, ""}}, true},
		{"the same again", []step{{Press{0, ""}, Taken, "a"}, {Press{0, ""}, Taken, "a"}}, true},
		{"oversold", []step{{Press{0, ""}, Taken, "a"}, {Press{1, ""}, Taken, "b"}}, false},
		{"twice", []step{{Press{0, ""}, Taken, "a"}, {Press{0, ""}, Taken, "b"}}, false},
		{"sold out with one left", []step{{Press{0, ""}, SoldOut, ""}}, false},
		{"lost", []step{{Press{0, ""}, Taken, "a"}, {Press{1, ""}, SoldOut, ""}, {Press{0, ""}, SoldOut, ""}}, false},
		{"cancelled and sold again", []step{{Press{0, ""}, Taken, "a"}, {Press{0, "a"}, Taken, ""}, {Press{1, ""}, Taken, "b"}}, true},
		{"cancelled and not free", []step{{Press{0, ""}, Taken, "a"}, {Press{0, "a"}, Taken, ""}, {Press{1, ""}, SoldOut, ""}}, false},
		{"unsure, and taken", []step{{Press{0, ""}, Unsure, ""}, {Press{1, ""}, SoldOut, ""}, {Press{0, ""}, Taken, "a"}}, true},
		{"unsure, and not taken", []step{{Press{0, ""}, Unsure, ""}, {Press{1, ""}, Taken, "b"}}, true},
		{"not taken, and taken all the same", []step{{Press{0, ""}, NotTaken, ""}, {Press{1, ""}, SoldOut, ""}}, false},
	} {
		h := NewHistory(1)
		for _, s := range tt.steps {
			h.Press(0, s.press, func() (Told, string) { return s.told, s.paper })
		}
		got, decided := h.Check(time.Minute, filepath.Join(t.TempDir(), "history.html"))
		if got != tt.want || !decided {
			t.Errorf("%s: %v, %v", tt.name, got, decided)
		}
	}
}
