package orders

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bramble/node/orders/draw"
)

// aClosedBallot returns a book with a ballot of five entries at its close, before a Tick.
func aClosedBallot(t *testing.T, kind draw.Kind) (*testBook, []PlaceOrder) {
	d := newTestBook(t)
	d.now = time.Date(2027, 2, 27, 6, 0, 0, 0, time.UTC) // drand has rounds then
	o := d.ballotOffer()
	o.PublicKind, o.Stock, o.Opens, o.Closes = kind, 2, d.now, d.now.Add(time.Hour)
	d.want(Done, o)
	var entries []PlaceOrder
	for n := range 5 {
		entries = append(entries, d.newOrder(n, KindEntry))
		d.want(Placed, entries[n])
	}
	d.now = o.Closes
	return d, entries
}

const twentyDice = "36115246613611524661"

// The list is fixed by the first Tick after the close, and public before the book takes any randomness. After
// that nobody changes it: not by cancelling, erasing, entering, stock or times, and not with the clock set back.
func TestAFixedListCannotBeChanged(t *testing.T) {
	for _, kind := range []draw.Kind{draw.Dice, draw.Drand} {
		d, entries := aClosedBallot(t, kind)
		public := draw.Public{Kind: kind, Text: twentyDice}
		if kind == draw.Drand {
			public.Text = fmt.Sprintf("drand quicknet %d %096x", draw.RoundAfter(d.now), 7)
		}
		if a := d.want(NotOpen, MakeDraw{d.by(), "pi", public}); !a.Opens.IsZero() {
			t.Errorf("%s before the list: %+v", kind, a)
		}
		d.ticks()
		f, err := d.book.Draw("pi")
		if err != nil || f.List == "" || !f.Listed.Equal(d.now) || len(f.Entries) != 5 || f.Secret != "" || f.Promised != d.promise() || !errors.Is(draw.Verify(f), draw.ErrUndrawn) {
			t.Fatalf("%s: %+v, %v", kind, f, err)
		}
		for _, at := range []time.Time{d.now, d.now.Add(-time.Minute), d.now.Add(-2 * time.Hour), d.now.Add(time.Hour)} {
			d.now = at
			d.want(TooLate, Cancel{ID: entries[0].ID})
			d.want(TooLate, Cancel{ID: entries[1].ID, By: d.by()})
			d.want(TooLate, Erase{Operation: d.by(), ID: entries[2].ID})
			if a := d.want(Done, Erase{Operation: d.by(), Email: entries[3].Person.Email}); a.Count != 0 || a.Remaining != 1 {
				t.Errorf("erased %+v", a)
			}
			d.want(Closed, d.newOrder(50, KindEntry))
			d.want(TooLate, Stock{d.by(), "pi", 1})
			d.want(TooLate, SetTimes{Operation: d.by(), Product: "pi", Opens: start, Closes: start.Add(100 * time.Hour)})
			d.want(TooLate, OpenSale{d.by(), "pi"})
			d.want(TooLate, CloseSale{d.by(), "pi"})
			d.want(NotClosed, RetireSale{d.by(), "pi", false})
			if again, err := d.book.Draw("pi"); err != nil || again.List != f.List || !again.Closes.Equal(f.Closes) || !again.Listed.Equal(f.Listed) {
				t.Errorf("%s at %v: %+v, %v", kind, at, again, err)
			}
		}
		d.want(Done, MakeDraw{d.by(), "pi", public})
		d.want(TooLate, MakeDraw{d.by(), "pi", draw.Public{Kind: public.Kind, Text: strings.Replace(public.Text, "6", "5", 1)}})
		d.ticks()
		if f, err = d.book.Draw("pi"); err != nil || len(f.Winners) != 2 || !f.Taken.Equal(d.now) {
			t.Errorf("%s: %+v, %v", kind, f, err)
		}
		if err := draw.Verify(f); kind == draw.Dice && err != nil || kind == draw.Drand && !strings.Contains(err.Error(), "signature") {
			t.Error(err)
		}
		d.recount()
	}
}

func (t *testBook) promise() draw.Promise {
	s := t.sale()
	return s.Promise()
}

// Of the 512 spellings of ten dice and the 1,200 rounds of an hour the book takes one, and no other kind.
func TestTheBookTakesOnlyWhatWasPromised(t *testing.T) {
	d := newTestBook(t)
	o := d.ballotOffer()
	o.PublicKind, o.Dice = draw.Dice, 10
	d.want(Done, o)
	d.now = o.Closes
	d.ticks()
	for _, text := range []string{"3 6 1 1 5 2 4 6 6 1", "36115 24661", "36115246611", twentyDice} {
		d.want(Malformed, MakeDraw{d.by(), "pi", draw.Public{Kind: draw.Dice, Text: text}})
	}
	d.want(Malformed, MakeDraw{d.by(), "pi", draw.Public{Kind: draw.Drand, Text: drandText}})
	d.want(Done, MakeDraw{d.by(), "pi", draw.Public{Kind: draw.Dice, Text: "3611524661"}})

	d, _ = aClosedBallot(t, draw.Drand)
	first := draw.RoundAfter(d.now) - 200 // the close, in rounds
	d.ticks()
	at := d.now
	d.now = draw.RoundTime(first + 200).Add(-time.Millisecond)
	right := MakeDraw{d.by(), "pi", draw.Public{Kind: draw.Drand, Text: fmt.Sprintf("drand quicknet %d %096x", first+200, 7)}}
	if a := d.want(NotOpen, right); !a.Opens.Equal(d.now.Add(time.Millisecond)) || a.Opens.Before(at.Add(draw.ListTime)) {
		t.Errorf("%+v", a)
	}
	d.now = at.Add(time.Hour)
	taken := 0
	for n := range uint64(1200) {
		c := MakeDraw{d.by(), "pi", draw.Public{Kind: draw.Drand, Text: fmt.Sprintf("drand quicknet %d %096x", first+n, 7)}}
		if d.sale().Draw.Public == (draw.Public{}) && d.do(c).Outcome == Done {
			taken++
			if n != 200 {
				t.Errorf("round %d", n)
			}
		}
	}
	if taken != 1 {
		t.Errorf("%d rounds", taken)
	}
}

// A round that was made while the boards were off, or while nobody knew the time, does not count: the close
// becomes the moment at which the list is fixed, so the round is still to come. A close that moves before it has passed moves the round.
func TestAListIsNeverLaterThanItsRound(t *testing.T) {
	d, _ := aClosedBallot(t, draw.Drand)
	missed := draw.RoundTime(d.promise().Round)
	d.now = missed.Add(-time.Millisecond)
	before := d.promise()
	d.ticks()
	if d.promise() != before || !d.sale().Draw.Listed.Equal(d.now) {
		t.Error("a list in time moved the round")
	}
	for _, late := range []time.Duration{0, time.Hour} {
		d, _ := aClosedBallot(t, draw.Drand)
		d.now = missed.Add(late)
		d.ticks()
		f, err := d.book.Draw("pi")
		if err != nil || !f.Closes.Equal(d.now) || !f.Listed.Equal(d.now) || f.Promised.Round != draw.RoundAfter(d.now) || f.Promised.Round <= before.Round || !errors.Is(draw.Verify(f), draw.ErrUndrawn) {
			t.Errorf("%v late: %+v, %v", late, f, err)
		}
		trail, err := d.book.Audit(0, 100)
		if err != nil || !slices.ContainsFunc(trail, func(e AuditEntry) bool {
			return strings.Contains(e.Action, "because the list was not fixed before round")
		}) {
			t.Errorf("%+v, %v", trail, err)
		}
	}
	d = newTestBook(t)
	o := d.ballotOffer()
	o.PublicKind = draw.Drand
	d.want(Done, o)
	d.want(Done, SetTimes{Operation: d.by(), Product: "pi", KeepOpens: true, Closes: o.Closes.Add(time.Hour)})
	if got := d.promise().Round; got != draw.RoundAfter(o.Closes.Add(time.Hour)) {
		t.Errorf("after a later close: round %d", got)
	}
	d.want(Done, CloseSale{d.by(), "pi"})
	d.want(TooLate, SetTimes{Operation: d.by(), Product: "pi", KeepOpens: true, Closes: o.Closes.Add(time.Hour)})
	if got := d.promise().Round; got != draw.RoundAfter(d.now) {
		t.Errorf("after an early close: round %d", got)
	}
}

// Who sets the ledger's clock back until the round is known gains nothing: the close becomes the time by most boards' own
// clocks, and while they agree on none the list waits. A draw that does not need them says that it had none.
func TestAHeldClockMovesTheRound(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Hour, 0, draw.ListTime - time.Minute, draw.ListTime + time.Minute, time.Hour} {
		d, _ := aClosedBallot(t, draw.Drand)
		before, closed := d.promise(), d.sale().Closes
		if a := d.want(Done, Tick{Until: d.now}); a.Count != 0 || d.sale().Draw.List != "" {
			t.Fatalf("the list is fixed although the boards agree on no time: %+v", a)
		}
		d.ahead = ahead
		d.ticks()
		f, err := d.book.Draw("pi")
		if err != nil || !f.Listed.Equal(d.now) || !f.Boards.Equal(d.now.Add(ahead)) || !errors.Is(draw.Verify(f), draw.ErrUndrawn) {
			t.Fatalf("%v: %+v, %v", ahead, f, draw.Verify(f))
		}
		if isLate := ahead > draw.ListTime; isLate && (!f.Closes.Equal(f.Boards) || f.Promised.Round != draw.RoundAfter(f.Boards)) || !isLate && (f.Promised != before || !f.Closes.Equal(closed)) {
			t.Errorf("%v: %+v", ahead, f)
		}
		if doubts := draw.Doubts(f); (len(doubts) == 1 && strings.HasPrefix(doubts[0], "The ledger's clock was held")) != (ahead != 0) {
			t.Errorf("%v: %q", ahead, doubts)
		}
		known := MakeDraw{d.by(), "pi", draw.Public{Kind: draw.Drand, Text: fmt.Sprintf("drand quicknet %d %096x", before.Round, 7)}}
		if ahead > draw.ListTime {
			d.want(Malformed, known)
		}
		d.now = d.now.Add(-time.Minute)
		d.want(NotOpen, MakeDraw{d.by(), "pi", draw.Public{Kind: draw.Drand, Text: fmt.Sprintf("drand quicknet %d %096x", f.Promised.Round, 7)}})
		d.recount()
	}
	d, _ := aClosedBallot(t, draw.Dice)
	d.want(Done, Tick{Until: d.now})
	if f, err := d.book.Draw("pi"); err != nil || f.List == "" || len(draw.Doubts(f)) != 1 || !errors.Is(draw.Verify(f), draw.ErrUndrawn) {
		t.Errorf("%+v, %v", f, err)
	}
	d.now = d.now.Add(-time.Minute)
	d.want(NotOpen, MakeDraw{d.by(), "pi", draw.Public{Kind: draw.Dice, Text: twentyDice}})
}

// The commitment alone: the list is public with the draw, and the secret not before the list.
func TestASecretIsNotPublicBeforeTheList(t *testing.T) {
	d, _ := aClosedBallot(t, draw.None)
	if f, err := d.book.Draw("pi"); err != nil || f.Secret != "" || f.List != "" || len(f.Entries) != 0 {
		t.Errorf("%+v, %v", f, err)
	}
	d.ticks()
	if f, err := d.book.Draw("pi"); err != nil || draw.Verify(f) != nil || f.List == "" || !f.Taken.IsZero() {
		t.Errorf("%+v, %v", f, err)
	}
}

// When rules 3 come into force, a ballot without randomness gets their promise; one that is being drawn goes on as it
// began, and Verify says what its file does not prove.
func TestBallotsFromBeforeRules3(t *testing.T) {
	for _, begun := range []bool{false, true} {
		d := newTestBook(t)
		d.rules = 2
		o := d.ballotOffer()
		o.PublicKind = draw.Dice
		d.want(Done, o)
		d.want(Placed, d.newOrder(1, KindEntry))
		if _, err := d.book.Draw("pi"); !errors.Is(err, ErrNoDraw) {
			t.Error(err)
		}
		d.want(Malformed, Offer(func() Offer { o := d.ballotOffer(); o.PublicKind, o.Dice = draw.Dice, 20; return o }()))
		d.now = o.Closes
		old := MakeDraw{d.by(), "pi", draw.Public{Kind: draw.Dice, Text: "36115 24661"}}
		if begun {
			d.want(Done, old)
		}
		d.rules = 3
		d.ticks()
		f, err := d.book.Draw("pi")
		switch {
		case begun:
			if err != nil || f.Version != 1 || len(f.Winners) != 1 || !strings.Contains(draw.Verify(f).Error(), "version 1 proves too little") {
				t.Errorf("%+v, %v", f, err)
			}
		case err != nil || f.Version != 3 || f.Promised != (draw.Promise{Kind: draw.Dice, Dice: draw.DefaultDice}) || f.List == "":
			t.Errorf("%+v, %v", f, err)
		default:
			d.want(Malformed, old)
			d.want(Done, MakeDraw{d.by(), "pi", draw.Public{Kind: draw.Dice, Text: twentyDice}})
			d.ticks()
			if f, err := d.book.Draw("pi"); err != nil || draw.Verify(f) != nil {
				t.Errorf("%+v, %v", f, err)
			}
		}
		d.recount()
		restored := openBook(t)
		if err := restored.Restore(strings.NewReader(string(dump(t, d.book)))); err != nil {
			t.Error(err)
		}
		if s, _ := restored.Sale("pi"); s.Draw != d.sale().Draw {
			t.Errorf("restored: %+v, want %+v", s.Draw, d.sale().Draw)
		}
	}
}
