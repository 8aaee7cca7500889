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
		{"one unit, one order", []step{{Action{Person: 0}, Done, "a"}, {Action{Person: 1}, SoldOut, ""}}, true},
		{"replayed", []step{{Action{Person: 0}, Done, "a"}, {Action{Person: 0}, Done, "a"}}, true},
		{"oversold", []step{{Action{Person: 0}, Done, "a"}, {Action{Person: 1}, Done, "b"}}, false},
		{"twice", []step{{Action{Person: 0}, Done, "a"}, {Action{Person: 0}, Done, "b"}}, false},
		{"sold out with one left", []step{{Action{Person: 0}, SoldOut, ""}}, false},
		{"lost", []step{{Action{Person: 0}, Done, "a"}, {Action{Person: 1}, SoldOut, ""}, {Action{Person: 0, Order: "a"}, SoldOut, ""}}, false},
		{"sold out, by another form", []step{{Action{Person: 0}, Done, "a"}, {Action{Person: 0}, SoldOut, ""}}, true},
		{"has one, by another form", []step{{Action{Person: 0}, Done, "a"}, {Action{Person: 0, Order: "b"}, HasOrder, ""}}, true},
		{"has one, and it is not said which", []step{{Action{Person: 0}, Done, "a"}, {Action{Person: 0, Order: "a"}, HasOrder, ""}}, false},
		{"has none", []step{{Action{Person: 0}, HasOrder, ""}}, false},
		{"cancelled and sold again", []step{{Action{Person: 0}, Done, "a"}, {Action{Person: 0, Cancel: "a"}, Done, ""}, {Action{Person: 1}, Done, "b"}}, true},
		{"cancelled and not free", []step{{Action{Person: 0}, Done, "a"}, {Action{Person: 0, Cancel: "a"}, Done, ""}, {Action{Person: 1}, SoldOut, ""}}, false},
		{"a form again whose order another window cancelled", []step{{Action{Order: "a"}, Uncertain, ""}, {Action{Order: "b"}, Done, "a"}, {Action{Cancel: "a"}, Done, ""}, {Action{Person: 1}, Done, "c"}, {Action{Order: "a"}, Done, "a"}, {Action{Person: 1}, Done, "c"}}, true},
		{"a form again that places its cancelled order", []step{{Action{Order: "a"}, Done, "a"}, {Action{Cancel: "a"}, Done, ""}, {Action{Order: "a"}, Done, "a"}, {Action{Sale: true}, Done, "1 of 1 sold"}}, false},
		{"a form again that places a second order", []step{{Action{Order: "a"}, Done, "a"}, {Action{Cancel: "a"}, Done, ""}, {Action{Order: "a"}, Done, "b"}}, false},
		{"a form again that is sold out", []step{{Action{Order: "a"}, Done, "a"}, {Action{Cancel: "a"}, Done, ""}, {Action{Person: 1}, Done, "b"}, {Action{Order: "a"}, SoldOut, ""}}, false},
		{"a form that is told a cancelled order of another", []step{{Action{Order: "a"}, Done, "a"}, {Action{Cancel: "a"}, Done, ""}, {Action{Order: "b"}, Done, "a"}}, false},
		{"a form that places the order of another", []step{{Action{Order: "b"}, Done, "a"}}, false},
		{"uncertain, and then cancelled", []step{{Action{Order: "a"}, Uncertain, ""}, {Action{Cancel: "a"}, Done, ""}, {Action{Read: "a"}, Done, ReceiptCancelled}, {Action{Order: "a"}, Done, "a"}, {Action{Person: 1}, Done, "b"}}, true},
		{"a receipt that is cancelled, and nobody cancelled it", []step{{Action{Person: 1}, Done, "b"}, {Action{Read: "a"}, Done, ReceiptCancelled}}, false},
		{"a cancel of what is not there", []step{{Action{Cancel: "a"}, Done, ""}}, false},
		{"uncertain, and done", []step{{Action{Person: 0}, Uncertain, ""}, {Action{Person: 1}, SoldOut, ""}, {Action{Person: 0}, Done, "a"}}, true},
		{"uncertain, and not done", []step{{Action{Person: 0}, Uncertain, ""}, {Action{Person: 1}, Done, "b"}}, true},
		{"read", []step{{Action{Person: 0}, Done, "a"}, {Action{Read: "a"}, Done, ReceiptOpen}, {Action{Sale: true}, Done, "1 of 1 sold"}, {Action{Cancel: "a"}, Done, ""}, {Action{Read: "a"}, Done, ReceiptCancelled}, {Action{Sale: true}, Done, "0 of 1 sold"}}, true},
		{"a receipt that is not there", []step{{Action{Person: 0}, Done, "a"}, {Action{Read: "a"}, Done, ReceiptMissing}}, false},
		{"a receipt from before the cancel", []step{{Action{Person: 0}, Done, "a"}, {Action{Cancel: "a"}, Done, ""}, {Action{Read: "a"}, Done, ReceiptOpen}}, false},
		{"a receipt of an uncertain order", []step{{Action{Person: 0}, Uncertain, ""}, {Action{Read: "a"}, Done, ReceiptOpen}, {Action{Person: 1}, SoldOut, ""}}, true},
		{"a sale from before the order", []step{{Action{Person: 0}, Done, "a"}, {Action{Sale: true}, Done, "0 of 1 sold"}}, false},
		{"more stock", []step{{Action{Person: 0}, Done, "a"}, {Action{Stock: 1}, Done, ""}, {Action{Person: 1}, Done, "b"}, {Action{Sale: true}, Done, "2 of 2 sold"}, {Action{Stock: -1}, SoldOut, ""}}, true},
		{"less stock than is sold", []step{{Action{Person: 0}, Done, "a"}, {Action{Stock: -1}, Done, ""}}, false},
		{"less stock, and sold", []step{{Action{Stock: -1}, Done, ""}, {Action{Person: 0}, Done, "a"}}, false},
		{"uncertain stock", []step{{Action{Stock: 1}, Uncertain, ""}, {Action{Person: 0}, Done, "a"}, {Action{Person: 1}, Done, "b"}}, true},
		{"not done, but done", []step{{Action{Person: 0}, NotDone, ""}, {Action{Person: 1}, SoldOut, ""}}, false},
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

// TestResolve checks that an uncertain order that is in the book counts, and one that is not does not.
func TestResolve(t *testing.T) {
	for become, want := range map[Reply]bool{Done: true, NotDone: false, Uncertain: true} {
		h := NewHistory(1)
		h.Do(0, Action{}, func() (Reply, string) { return Uncertain, "a" })
		h.Do(1, Action{Person: 1}, func() (Reply, string) { return SoldOut, "" })
		h.Resolve(func(Action, string) Reply { return become })
		if got, _ := h.Check(time.Minute, filepath.Join(t.TempDir(), "history.html")); got != want {
			t.Errorf("%v: %t", become, got)
		}
	}
}
