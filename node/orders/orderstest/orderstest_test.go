package orderstest

import (
	"path/filepath"
	"testing"
	"time"
)

// TestJudge checks that Judge rejects wrong histories.
func TestJudge(t *testing.T) {
	type step struct {
		action Action
		reply  Reply
		order  string
	}
	for _, tt := range []struct {
		name  string
		steps []step
		want  bool
	}{
		{"one unit, one order", []step{{Action{0, ""}, Done, "a"}, {Action{1, ""}, SoldOut, ""}}, true},
		{"replayed", []step{{Action{0, ""}, Done, "a"}, {Action{0, ""}, Done, "a"}}, true},
		{"oversold", []step{{Action{0, ""}, Done, "a"}, {Action{1, ""}, Done, "b"}}, false},
		{"twice", []step{{Action{0, ""}, Done, "a"}, {Action{0, ""}, Done, "b"}}, false},
		{"sold out with one left", []step{{Action{0, ""}, SoldOut, ""}}, false},
		{"lost", []step{{Action{0, ""}, Done, "a"}, {Action{1, ""}, SoldOut, ""}, {Action{0, ""}, SoldOut, ""}}, false},
		{"cancelled and sold again", []step{{Action{0, ""}, Done, "a"}, {Action{0, "a"}, Done, ""}, {Action{1, ""}, Done, "b"}}, true},
		{"cancelled and not free", []step{{Action{0, ""}, Done, "a"}, {Action{0, "a"}, Done, ""}, {Action{1, ""}, SoldOut, ""}}, false},
		{"uncertain, and done", []step{{Action{0, ""}, Uncertain, ""}, {Action{1, ""}, SoldOut, ""}, {Action{0, ""}, Done, "a"}}, true},
		{"uncertain, and not done", []step{{Action{0, ""}, Uncertain, ""}, {Action{1, ""}, Done, "b"}}, true},
		{"not done, but done", []step{{Action{0, ""}, NotDone, ""}, {Action{1, ""}, SoldOut, ""}}, false},
	} {
		h := NewHistory(1)
		for _, s := range tt.steps {
			h.Do(0, s.action, func() (Reply, string) { return s.reply, s.order })
		}
		got, decided := h.Check(time.Minute, filepath.Join(t.TempDir(), "history.html"))
		if got != tt.want || !decided {
			t.Errorf("%s: %v, %v", tt.name, got, decided)
		}
	}
}
