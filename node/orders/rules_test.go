package orders

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"go.etcd.io/bbolt"

	"bramble/node/orders/draw"
)

// A hash of what each version of the rules makes of many inputs: the normal forms, and the answers and
// the digest of a book that gets one of everything.
//
// If a line of an old version fails: an acknowledged order would be judged differently when the log
// is applied again, and boards with the program before would diverge. Undo the change, or give it a
// version of its own in rules.go and add a line here. If only the texts of one version fail after an update of
// Go or of golang.org/x/text, Unicode's tables have changed: see rules.go.
func TestOldRulesStayAsTheyAre(t *testing.T) {
	want := []struct{ texts, book uint64 }{ // of version 1 and the following
		{0x2efa8c4d7d6e8c37, 0x2592e8f3e90d2768},
		{0xf5201738390ad68, 0xc5db82230ed0272f},
		{0xf5201738390ad68, 0x4b45cd6b05a6eed0},
	}
	for version := uint32(1); version <= MaxRules; version++ {
		texts, book := hashTexts(version), hashBook(t, version)
		switch {
		case int(version) > len(want):
			t.Errorf("rules %d have no line here: add {%#x, %#x}", version, texts, book)
		case texts != want[version-1].texts || book != want[version-1].book:
			t.Errorf("rules %d changed: texts %#x, book %#x; want %#x. See the comment above", version, texts, book, want[version-1])
		}
	}
}

// somePeople calls do with people whose names and addresses have letters of many scripts.
func somePeople(do func(Person)) {
	letters := []string{"a", "Z", "é", "e\u0301", "ß", "ẞ", "ſ", "İ", "ı", "σ", "ς", "Ж", "ａ", "Ⅳ", "ﬁ", "K", "한", "山", "ก", "\u200b", "\u00ad", "\u200d", "\ufe0f", "٣", "𝒜", "😀", ".", "-", "+", "'", "0"}
	for i, a := range letters {
		for j, b := range letters {
			for _, domain := range []string{"example.org", "Gmail.com", "googlemail.COM", "例え.jp"} {
				p := Person{Name: a + b, Email: a + "x." + b + "+tag@" + domain, Line1: b + " " + a, Line2: fmt.Sprint(i), City: a, Country: "GB"}
				if j%2 == 0 {
					p.Postcode = b + "1"
				}
				do(p)
			}
		}
	}
}

// hashTexts hashes the people's normal forms.
func hashTexts(version uint32) uint64 {
	r := rulesOf(version)
	h := xxhash.New()
	somePeople(func(p Person) {
		fmt.Fprintf(h, "%q %q %q\n", r.normalEmail(p.Email), r.addressText(&p), r.personText(&p))
	})
	return h.Sum64()
}

// Whatever a new version changes in a text that identifies people, each person's order from before is
// found under it: for the limit, by address too, and for the erasure.
func TestEveryChangeOfATextMovesThePeople(t *testing.T) {
	d := newTestBook(t)
	o := d.someOffer()
	o.Stock, o.Limit, o.LimitByAddress, o.Invitations = 1_000, 1, true, 0
	d.want(Done, o)
	first := d.newOrder(1, KindOrder)
	first.Person.Email = "an.na@x.example"
	d.want(Placed, first)
	for n := range 20 {
		d.want(Placed, d.newOrder(2+n, KindOrder))
	}
	old := rulesOf(MaxRules)
	for _, change := range []func(*ruleSet){
		func(r *ruleSet) {
			r.normalEmail = func(e string) string { return strings.ReplaceAll(old.normalEmail(e), ".", "") }
		},
		func(r *ruleSet) { r.addressText = func(p *Person) []byte { return append(old.addressText(p), '1') } },
		func(r *ruleSet) { r.personText = func(p *Person) []byte { return append(old.personText(p), '1') } },
	} {
		if err := d.book.db.Update(func(tx *bbolt.Tx) error {
			a := newApplyTx(d.book, tx)
			before := a.rules
			change(&a.rules)
			a.reindexPeople(&before)
			number := 0
			c := a.orders.Cursor()
			for k, v := c.First(); k != nil; k, v = c.Next() {
				o, err := decodeOrder(v)
				if err != nil {
					return err
				}
				o.fingerprints = a.rules.fingerprintsOf(&o.Person)
				number++
				if a.people.Get(personKey(o)) == nil || a.addresses.Get(addressKey(o)) == nil {
					t.Errorf("order %d is not found under the new rules", o.Number)
				}
			}
			if stats := a.people.Stats(); number != 21 || stats.KeyN != 21 {
				t.Errorf("%d orders, %d people", number, stats.KeyN)
			}
			return errors.Join(a.err, errRollback)
		}); !errors.Is(err, errRollback) || errors.Is(err, ErrBroken) {
			t.Fatal(err)
		}
	}
}

var errRollback = errors.New("nothing is stored")

// Under each version, the orders of the version before are found.
func TestEachVersionFindsTheOrdersOfTheOneBefore(t *testing.T) {
	for version := uint32(2); version <= MaxRules; version++ {
		d := newTestBook(t)
		d.rules = version - 1
		o := d.someOffer()
		o.Stock, o.Limit, o.LimitByAddress, o.Invitations = 100_000, 100, false, 0
		d.want(Done, o)
		n, placed := 0, 0
		somePeople(func(p Person) {
			if n++; n%16 != 0 {
				return
			}
			c := d.newOrder(n, KindOrder)
			c.Person.Email = p.Email
			if d.apply(Encode(c)).Outcome == Placed {
				placed++
			}
		})
		d.rules = version
		d.want(Done, Stock{d.by(), "pi", 1})
		d.recount()
		if placed < 50 {
			t.Errorf("rules %d: only %d orders", version, placed)
		}
	}
}

// hashBook hashes a book that got one of everything under these rules.
func hashBook(t *testing.T, version uint32) uint64 {
	d := newTestBook(t)
	d.rules = version
	h := xxhash.New()
	do := func(c Command) {
		fmt.Fprintf(h, "%T %+v\n", c, d.apply(Encode(c)))
	}
	offer := d.someOffer()
	offer.Invitations, offer.LimitByAddress = 0, true
	do(offer)
	inviting := d.someOffer()
	inviting.Product, inviting.Mode, inviting.Invitations = "pi-i", Interest, time.Hour
	do(inviting)
	ballot := d.ballotOffer()
	ballot.Product, ballot.PublicKind, ballot.Invitations = "pi-b", draw.Dice, 0
	do(ballot)
	var ids []ID
	for n := range 24 {
		for _, kind := range []Kind{KindOrder, KindWaiting, KindEntry, KindInterest} {
			c := d.newOrder(n, kind).of(1 + (n+int(kind))%2)
			c.Product = []string{KindOrder: "pi", KindWaiting: "pi", KindEntry: "pi-b", KindInterest: "pi-i"}[kind]
			ids = append(ids, c.ID)
			do(c)
		}
	}
	for _, c := range everyCommand() {
		if Encode(c)[0] <= opFinishWebhook { // later commands must not change this
			do(c)
		}
	}
	for n, id := range ids {
		switch n % 9 {
		case 0:
			do(Cancel{ID: id, Reason: "no"})
		case 1:
			do(BeginFulfilment{id})
		case 2:
			do(MarkSent{d.by(), id, "by hand"})
			do(ReturnOrder{d.by(), id, n%2 == 0, ""})
		}
		if n%16 == 0 {
			do(Stock{d.by(), "pi", 1})
			do(Invite{d.by(), "pi", 2, d.now.Add(time.Minute)})
			do(Tick{})
		}
	}
	d.now = d.now.Add(3 * time.Hour)
	do(Tick{})
	do(MakeDraw{d.by(), "pi-b", draw.Public{Kind: draw.Dice, Text: "36115 24661"}})
	for range 8 {
		do(Tick{})
	}
	if version > 2 {
		do(MakeDraw{d.by(), "pi-b", draw.Public{Kind: draw.Dice, Text: "36115246613611524661"}})
		for range 8 {
			do(Tick{})
		}
	}
	for _, id := range ids {
		do(Cancel{ID: id, By: d.by()})
		do(Tick{})
	}
	if version >= 3 {
		confirmed := d.someOffer()
		confirmed.Product, confirmed.Confirm = "pi-c", time.Minute
		do(confirmed)
		for n := range 6 {
			c := d.newOrder(n%2, KindOrder)
			c.Product = "pi-c"
			do(c)
			if n%3 == 2 {
				do(Confirm{c.ID})
			}
		}
		d.now = d.now.Add(time.Minute)
		do(Tick{})
		do(SetReceiptSecret{Operation: d.by(), Secret: [32]byte{1}, Former: [][32]byte{{2}}, First: true})
		do(SetReceiptSecret{Operation: d.by(), Secret: [32]byte{3}, Revoke: true})
		do(Tick{})
		late := d.ballotOffer()
		late.Product, late.PublicKind, late.Opens, late.Closes = "pi-l", draw.Drand, d.now, d.now.Add(time.Hour)
		do(late)
		d.now = late.Closes
		do(Tick{Until: d.now})
		do(Tick{Until: d.now, Boards: d.now.Add(time.Hour)})
		f, err := d.book.Draw("pi-l")
		fmt.Fprintf(h, "%+v %v\n", f, err)
	}
	d.recount()
	if s, _ := d.book.Sale("pi-b"); s.Draw.At.IsZero() {
		t.Errorf("rules %d: the ballot is not drawn", version)
	}
	return h.Sum64() ^ d.book.Digest()
}

// A person with an order under the old rules has it under the new ones too, also with an address that
// only the new ones take for the same.
func TestAnOrderFromBeforeCountsUnderTheNewRules(t *testing.T) {
	d := newTestBook(t)
	d.rules = 1
	o := d.someOffer()
	o.Stock, o.Limit, o.LimitByAddress, o.Invitations = 10, 1, true, 0
	d.want(Done, o)
	plain := d.newOrder(1, KindOrder)
	hidden := d.newOrder(2, KindOrder)
	hidden.Person.Email = "per\u200bson2@example.org"
	d.want(Placed, plain)
	d.want(Placed, hidden)
	d.rules = 2
	for n, first := range []PlaceOrder{plain, hidden} {
		again := d.newOrder(n+1, KindOrder)
		again.Person.Email = strings.ToUpper(fmt.Sprintf("pe\u00adrson%d@example.org", n+1))
		again.Person.Name, again.Person.Line1 = first.Person.Name, first.Person.Line1
		if a := d.want(AlreadyDone, again); a.Order != first.ID {
			t.Errorf("person %d has order %v", n, a.Order)
		}
		again.InAddition, again.ID = true, d.newID()
		d.want(OverLimit, again)
		d.want(AlreadyDone, first)
	}
	d.recount()
	d.want(Done, Erase{Operation: d.by(), Email: "person2@example.org"})
	if got := d.order(hidden.ID); got.State != StateErased {
		t.Errorf("the person is not found to be erased: %v", got.State)
	}
	if d.book.Rules() != 2 {
		t.Error("the rules in force are", d.book.Rules())
	}
	d.rules = 1 // a leader that knows less: the version does not fall
	d.want(Done, MarkSent{d.by(), plain.ID, ""})
	d.recount()
}

// Two people under the old rules who are one under the new ones may have more than the limit.
func TestPeopleWhoBecomeOneKeepTheirOrders(t *testing.T) {
	d := newTestBook(t)
	d.rules = 1
	o := d.someOffer()
	o.Stock, o.Limit = 10, 1
	o.Invitations = 0
	d.want(Done, o)
	for _, email := range []string{"ada@example.org", "a\u200bda@example.org"} {
		c := d.newOrder(1, KindOrder)
		c.Person.Email = email
		d.want(Placed, c)
	}
	d.rules = 2
	d.want(Done, Stock{d.by(), "pi", 1})
	d.recount()
	restored := openBook(t)
	if err := restored.Restore(strings.NewReader(string(dump(t, d.book)))); err != nil {
		t.Error(err)
	}
}

// What a program stores under old rules, the program before can read.
func TestOldRulesStoreOldRecords(t *testing.T) {
	d := newTestBook(t)
	d.rules = 1
	o := d.someOffer()
	o.Invitations = 0
	d.want(Done, o)
	d.want(Placed, d.newOrder(1, KindOrder))
	forms := func() (sale, order, meta byte) {
		err := d.book.withReadTx(func(r *readTx) error {
			sale = r.bucket(bucketSales).Get(uint16Key(0))[0]
			order = r.bucket(bucketOrders).Get(uint64Key(1))[0]
			meta = r.bucket(bucketMeta).Get([]byte(stateKey))[0]
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return sale, order, meta
	}
	if sale, order, meta := forms(); sale != 1 || order != 1 || meta != 1 {
		t.Errorf("under rules 1 the forms are %d, %d, %d", sale, order, meta)
	}
	d.rules = 2
	d.want(Done, Tick{})
	if sale, order, meta := forms(); sale != 2 || order != 1 || meta != 2 {
		t.Errorf("after the rise they are %d, %d, %d", sale, order, meta)
	}
	d.want(Done, BeginFulfilment{d.newIDAt(1)})
	if _, order, _ := forms(); order != 2 {
		t.Errorf("an order that changes has form %d", order)
	}
	d.recount()
	if got := d.order(d.newIDAt(1)); got.Split != (Split{Price: 35_00, Shipping: 8_00, Total: 43_00}) || !got.HandedOver {
		t.Errorf("%+v", got)
	}
}

// newIDAt returns the ID that newID returned as its nth.
func (t *testBook) newIDAt(n int) ID { return ID(n) * 7919 }

// A backup that was made under the old rules is restored under the new ones.
func TestABackupFromBeforeIsRaised(t *testing.T) {
	source := newTestBook(t)
	source.rules = 1
	o := source.someOffer()
	o.Invitations = 0
	source.want(Done, o)
	c := source.newOrder(1, KindOrder)
	c.Person.Email = "per\u200bson1@example.org"
	source.want(Placed, c)
	d := newShopBook(t)
	for _, command := range restoreCommands(d, dump(t, source.book), 4000) {
		d.want(Done, command)
	}
	again := d.newOrder(1, KindOrder)
	d.want(AlreadyDone, again)
	if s := d.sale(); s.Invitations != DefaultInvitation || d.book.Rules() != MaxRules {
		t.Errorf("rules %d, invitations %v", d.book.Rules(), s.Invitations)
	}
	d.want(Done, MarkSent{d.by(), c.ID, ""})
	d.recount()
}
