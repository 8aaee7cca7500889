package orders

import (
	"errors"
	"slices"
	"testing"

	"bramble/node/orders/draw"
)

// A draw's progress only grows, and is exact at the end.
func TestDrawProgress(t *testing.T) {
	d := newTestBook(t)
	o := d.someOffer()
	o.Mode, o.WaitingList, o.PublicKind, o.Secret = Ballot, false, draw.None, [32]byte{1}
	o.Opens, o.Closes = d.now, d.now.AddDate(0, 0, 1)
	d.want(Done, o)
	const entries = 700
	for n := range entries {
		entry := d.newOrder(n, KindEntry)
		entry.ID = MaxID / entries * ID(n+1)
		d.want(Placed, entry)
	}
	if _, _, err := d.book.DrawProgress("plum"); !errors.Is(err, ErrNoSale) {
		t.Errorf("of an unknown product: %v", err)
	}
	d.now = o.Closes
	var seen []int
	for {
		done, total, err := d.book.DrawProgress(o.Product)
		if err != nil || total != entries {
			t.Fatalf("%d of %d, %v", done, total, err)
		}
		seen = append(seen, done)
		if !d.sale().Draw.At.IsZero() {
			break
		}
		d.want(Done, Tick{})
	}
	if !slices.IsSorted(seen) || seen[0] != 0 || seen[len(seen)-1] != entries || len(seen) < 6 || seen[len(seen)/2] < entries/4 {
		t.Errorf("progress: %v", seen)
	}
}

func TestQueueHead(t *testing.T) {
	d := newTestBook(t)
	d.want(Done, d.someOffer())
	d.want(Placed, d.newOrder(90, KindOrder).of(2))
	d.want(Placed, d.newOrder(91, KindOrder))
	var want []ID
	for n := range 3 {
		want = append(want, d.want(Placed, d.newOrder(n, KindWaiting)).Order)
	}
	head, err := d.book.QueueHead("pi", 2)
	if err != nil || len(head) != 2 || head[0].ID != want[0] || head[1].ID != want[1] || head[0].Product != "pi" {
		t.Errorf("%+v, %v", head, err)
	}
}

func TestFormatPercent(t *testing.T) {
	for hundredths, want := range map[int]string{0: "0", 5: "0.05", 550: "5.5", 1900: "19", 725: "7.25", 10000: "100"} {
		if got := FormatPercent(hundredths); got != want {
			t.Errorf("%d: %s, want %s", hundredths, got, want)
		}
	}
}
