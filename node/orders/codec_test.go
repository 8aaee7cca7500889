package orders

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"bramble/node/orders/draw"
)

// everyCommand returns one command of each type, with every field set.
func everyCommand() []Command {
	by := Operation{Operator: "Grace Höpper", OpID: math.MaxUint64}
	return []Command{
		PlaceOrder{ID: MaxID, Product: "pi", Kind: KindWaiting, Quantity: 2, Total: 78_00, Currency: "USD", Person: somebody(), InAddition: true},
		PlaceOrder{ID: MaxID, Product: "pi", Kind: KindOrder, Quantity: 2, Total: 78_00, Currency: "USD", Person: somebody(), Unheld: true},
		PlaceOrder{ID: MaxID, Product: "pi", Kind: KindOrder, Quantity: 2, Total: 78_00, Currency: "USD", Person: somebody(), FromReceipt: true},
		PlaceOrder{ID: MaxID, Product: "pi", Kind: KindEntry, Quantity: 2, Total: 78_00, Currency: "USD", Person: somebody(), Network: math.MaxUint16},
		Cancel{ID: 7, By: by, Reason: "sent back"},
		Cancel{ID: 7},
		Offer{
			Operation: by, Product: "pi", Mode: Ballot, Stock: 10_000, Limit: 1, LimitByAddress: true, Opens: start,
			Closes: start.Add(time.Hour), WaitingList: true, Price: 35_00, Currency: "USD",
			Countries: []Country{{"GB", 4_00, 20_00}, {"DE", 8_00, 0}}, Webhook: true, FulfilmentDelay: time.Hour,
			Mail: true, Retain: 1000 * time.Hour, Secret: [32]byte{31: 1}, PublicKind: draw.Drand,
		},
		Stock{by, "pi", -5},
		OpenSale{by, "pi"},
		CloseSale{by, "pi"},
		SetTimes{Operation: by, Product: "pi", Opens: start},
		SetTimes{Operation: by, Product: "pi", Closes: start, KeepOpens: true},
		Offer{
			Operation: by, Product: "pi", Mode: FirstCome, Stock: 1, Limit: 1, Currency: "USD", Countries: []Country{{"GB", 4_00, 20_00}},
			Invitations: InviteByHand,
		},
		ReviseOffer{by, "pi", reviseEnd - 1, 40_00, []Country{{"GB", 4_00, 20_00}}, 3, true, time.Hour, true, true, time.Minute, 24 * time.Hour},
		RetireSale{by, "pi", true}, HandOver{by, "pi"},
		Offer{
			Operation: by, Product: "pi", Mode: Ballot, Stock: 1, Limit: 1, Opens: start, Closes: start.Add(time.Hour), Currency: "USD",
			Countries: []Country{{"GB", 4_00, 20_00}}, Secret: [32]byte{31: 1}, PublicKind: draw.Dice, Dice: 30,
		},
		MarkSent{by, 9, "DHL 123"}, ReturnOrder{by, 9, true, "does not fit"}, FinishWebhook{9, JobCancelled},
		Announce{by, "Wir öffnen um sechs."},
		Invite{by, "pi", 100, start.Add(time.Hour)},
		MakeDraw{by, "pi", draw.Public{Kind: draw.Dice, Text: "36115 24661"}},
		BeginFulfilment{9}, FinishFulfilment{9, "webhook"}, FinishMail{9, JobMailWon},
		Erase{Operation: by, ID: 9},
		Erase{Operation: by, Email: "a@example.org"},
		SetReceiptSecret{Operation: by, Secret: [32]byte{1}, Former: [][32]byte{{2}, {3}}, First: true},
		SetReceiptSecret{Operation: by, Secret: [32]byte{1}, Revoke: true},
		Confirm{9},
		Offer{Operation: by, Product: "pi-c", Mode: FirstCome, Stock: 1, Limit: 1, Currency: "EUR", Countries: []Country{{Code: "DE"}}, Mail: true, Confirm: time.Minute},
		Tick{}, Tick{Until: start}, Tick{Until: start, Boards: start.Add(time.Hour)}, SetClock{by, start, start.Add(-time.Hour)},
	}
}

func somebody() Person {
	return Person{Name: "山田 太郎", Email: "taro+pi@例え.jp", Line1: "千代田1-1", Line2: "2階", City: "東京", Postcode: "100-0001", Country: "JP"}
}

func TestCommandsRoundTrip(t *testing.T) {
	for _, c := range everyCommand() {
		if err := Check(c); err != nil {
			t.Errorf("%T: %v", c, err)
		}
		data := Encode(c)
		got, err := DecodeCommand(data)
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%T: got %+v, %v", c, got, err)
		}
		for n := range data {
			if _, err := DecodeCommand(data[:n]); !errors.Is(err, ErrCommand) {
				t.Errorf("%T: cut to %d bytes: %v", c, n, err)
			}
		}
		if _, err := DecodeCommand(append(data, 0)); !errors.Is(err, ErrCommand) {
			t.Errorf("%T with a byte more: %v", c, err)
		}
	}
}

// TestReadUvarint compares readUvarint with binary.Uvarint, also in what both refuse.
func TestReadUvarint(t *testing.T) {
	check := func(data []byte) {
		t.Helper()
		v, n := readUvarint(data)
		want, wantN := binary.Uvarint(data)
		if v != want || n != max(0, wantN) {
			t.Errorf("%x: %d, %d instead of %d, %d", data, v, n, want, wantN)
		}
	}
	for bit := range 64 {
		for _, v := range []uint64{1<<bit - 1, 1 << bit, 1<<bit + 1, math.MaxUint64 >> bit} {
			data := binary.AppendUvarint(nil, v)
			for n := range data {
				check(data[:n])
			}
			check(data)
			check(append(data, 0xff, 0))
		}
	}
	for n := range 15 {
		for _, last := range []byte{0, 1, 2, 0x7f, 0x80} {
			check(append(bytes.Repeat([]byte{0x80}, n), last))
			check(append(bytes.Repeat([]byte{0xff}, n), last))
		}
	}
}

// TestDecodingWithoutTexts checks that it yields everything else, and that it needs no memory: a restart decodes every order.
func TestDecodingWithoutTexts(t *testing.T) {
	o := storedOrder{Order: Order{ID: 1 << 40, Kind: KindOrder, Number: 300_000, Quantity: 2, Total: 2590, Currency: "EUR", Person: somebody(),
		Made: start, State: StateOpen, Note: "fragile"}, mailJob: JobMailPlaced, mailSince: start.UnixMilli()}
	data := encodeAs(recordForm2, &o)
	want, err := decodeOrder(data)
	if err != nil || want.Person != somebody() {
		t.Fatal(want, err)
	}
	want.Person, want.Currency, want.Note = Person{}, "", ""
	var got storedOrder
	var d decoder
	allocations := testing.AllocsPerRun(100, func() {
		got, d = storedOrder{}, decoder{data: data, skipsTexts: true}
		err = got.decode(&d)
	})
	if err != nil || !reflect.DeepEqual(&got, want) || allocations != 0 {
		t.Errorf("%v allocations, %v: %+v instead of %+v", allocations, err, got, *want)
	}
}

// TestZeroTimeIsStoredAsZero checks that a time has one encoding.
func TestZeroTimeIsStoredAsZero(t *testing.T) {
	if (time.Time{}).UnixMilli() != zeroMillis {
		t.Error("zeroMillis is another time")
	}
	for ms, ok := range map[int64]bool{0: true, 1: true, -1: true, zeroMillis: false, zeroMillis + 1: true, math.MaxInt64: true, math.MinInt64: true} {
		var w encoder
		w.int(ms)
		d := decoder{data: w.data}
		at := d.time()
		if d.done() != ok || ok && toMillis(at) != ms {
			t.Errorf("%d: %v, %v", ms, at, d.done())
		}
	}
}

func FuzzDecodeCommand(f *testing.F) {
	for _, c := range everyCommand() {
		f.Add(Encode(c))
	}
	f.Add([]byte{})
	f.Add([]byte{opPlaceOrder, 0x80, 0})
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := DecodeCommand(data)
		if err != nil {
			return
		}
		if !bytes.Equal(Encode(c), data) {
			t.Fatalf("%+v encodes to other bytes", c)
		}
		_ = Check(c)
	})
}

// FuzzApply passes any bytes to a book: it must answer, without a panic or an error.
func FuzzApply(f *testing.F) {
	for _, c := range everyCommand() {
		f.Add(Encode(c))
	}
	d := newTestBook(f)
	d.want(Done, d.someOffer())
	f.Fuzz(func(t *testing.T, data []byte) {
		d.t = t
		d.apply(data)
	})
}

func FuzzDecodeAnswer(f *testing.F) {
	f.Add(Answer{Outcome: Placed, Order: MaxID, Position: 12, State: SaleSoldOut}.Encode())
	f.Add(Answer{Outcome: NotOpen, Opens: start, Total: math.MinInt64, Remaining: math.MaxInt32, Count: -1}.Encode())
	f.Add([]byte{answerForm})
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := DecodeAnswer(data)
		if err == nil && !bytes.Equal(a.Encode(), data) {
			t.Fatalf("%+v encodes to other bytes", a)
		}
	})
}

func TestAnswersRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := Answer{
			Outcome:   Outcome(rapid.Byte().Draw(t, "outcome")),
			Order:     ID(rapid.Uint64Range(0, uint64(MaxID)).Draw(t, "order")),
			Position:  int(rapid.Int32().Draw(t, "position")),
			State:     SaleState(rapid.Byte().Draw(t, "state")),
			Total:     rapid.Int64().Draw(t, "total"),
			Remaining: int(rapid.Int32().Draw(t, "left")),
			Count:     int(rapid.Int32().Draw(t, "count")),
		}
		if got, err := DecodeAnswer(a.Encode()); err != nil || got != a {
			t.Fatalf("%+v: got %+v, %v", a, got, err)
		}
	})
}

func TestCheckRefuses(t *testing.T) {
	tests := []struct {
		field  string
		change func(*PlaceOrder)
	}{
		{"ID", func(a *PlaceOrder) { a.ID = 0 }},
		{"ID", func(a *PlaceOrder) { a.ID = MaxID + 1 }},
		{"Product", func(a *PlaceOrder) { a.Product = "Pi" }},
		{"Kind", func(a *PlaceOrder) { a.Kind = 5 }},
		{"Quantity", func(a *PlaceOrder) { a.Quantity = 0 }},
		{"Quantity", func(a *PlaceOrder) { a.Quantity = MaxLimit + 1 }},
		{"Total", func(a *PlaceOrder) { a.Total = -1 }},
		{"Currency", func(a *PlaceOrder) { a.Currency = "usd" }},
		{"Name", func(a *PlaceOrder) { a.Person.Name = "" }},
		{"Name", func(a *PlaceOrder) { a.Person.Name = " Ada" }},
		{"Name", func(a *PlaceOrder) { a.Person.Name = "Ada\u202e" }},
		{"Name", func(a *PlaceOrder) { a.Person.Name = "A\x00" }},
		{"Name", func(a *PlaceOrder) { a.Person.Name = "\xff" }},
		{"Name", func(a *PlaceOrder) { a.Person.Name = "e\u0301" }}, // not NFC
		{"Name", func(a *PlaceOrder) { a.Person.Name = strings.Repeat("x", MaxName+1) }},
		{"Email", func(a *PlaceOrder) { a.Person.Email = "ada" }},
		{"Email", func(a *PlaceOrder) { a.Person.Email = "ada@b@c.org" }},
		{"Email", func(a *PlaceOrder) { a.Person.Email = "ada@example.org\r\nBcc: x@y.z" }},
		{"Email", func(a *PlaceOrder) { a.Person.Email = "@example.org" }},
		{"Email", func(a *PlaceOrder) { a.Person.Email = "ada@localhost" }},
		{"Line1", func(a *PlaceOrder) { a.Person.Line1 = "" }},
		{"City", func(a *PlaceOrder) { a.Person.City = "\t" }},
		{"Postcode", func(a *PlaceOrder) { a.Person.Postcode = strings.Repeat("1", MaxPostcode+1) }},
		{"Country", func(a *PlaceOrder) { a.Person.Country = "D" }},
	}
	d := newTestBook(t)
	for _, test := range tests {
		c := PlaceOrder{ID: 1, Product: "pi", Kind: KindOrder, Quantity: 1, Currency: "USD", Person: somebody()}
		test.change(&c)
		var wrong *FieldError
		if err := Check(c); !errors.As(err, &wrong) || wrong.Field != test.field {
			t.Errorf("%s: %v", test.field, err)
		}
		if a := d.apply(Encode(c)); a.Outcome != Malformed {
			t.Errorf("%s: the book says %v", test.field, a.Outcome)
		}
	}
}

func TestIDs(t *testing.T) {
	id, err := ParseID(" k7qm2xd9 5vb")
	if err != nil || id.String() != "K7QM-2XD9-5VB" {
		t.Fatalf("the example: %v, %v", id, err)
	}
	rapid.Check(t, func(t *rapid.T) {
		id := ID(rapid.Uint64Range(1, uint64(MaxID)).Draw(t, "id"))
		text := id.String()
		for _, form := range []string{text, strings.ToLower(text), strings.ReplaceAll(text, "-", ""), " " + strings.ReplaceAll(text, "-", " "),
			strings.NewReplacer("0", "o", "1", "l").Replace(text)} {
			if got, err := ParseID(form); err != nil || got != id {
				t.Fatalf("%q: %v, %v", form, got, err)
			}
		}
		other := ID(rapid.Uint64Range(1, uint64(MaxID)).Draw(t, "other"))
		if (id < other) != (id.String() < other.String()) {
			t.Fatalf("%v and %v do not sort like their numbers", id, other)
		}
		// Every single wrong symbol and every two symbols swapped is noticed.
		plain := []byte(strings.ReplaceAll(text, "-", ""))
		for i := range plain {
			for _, c := range []byte(symbols) {
				slip := bytes.Clone(plain)
				slip[i] = c
				if got, err := ParseID(string(slip)); (err == nil) != (c == plain[i]) {
					t.Fatalf("%s for %s: %v, %v", slip, plain, got, err)
				}
			}
			for j := range i {
				slip := bytes.Clone(plain)
				slip[i], slip[j] = slip[j], slip[i]
				if got, err := ParseID(string(slip)); (err == nil) != (plain[i] == plain[j]) {
					t.Fatalf("%s for %s: %v, %v", slip, plain, got, err)
				}
			}
		}
	})
}

func FuzzParseID(f *testing.F) {
	f.Add("K7QM-2XD9-5VB")
	f.Add(ID(1).String())
	f.Add("ooooo-iiiii-l")
	f.Add("\xff")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseID(text)
		if err != nil {
			return
		}
		if again, err := ParseID(id.String()); err != nil || again != id || !id.Valid() {
			t.Fatalf("%q: %v, then %v, %v", text, id, again, err)
		}
	})
}

func TestSamePersonAndAddress(t *testing.T) {
	rules := rulesOf(MaxRules)
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"Ada@Example.org", "ada@example.ORG", true},
		{"ada+pi@example.org", "ada@example.org", true},
		{"a.d.a+x@googlemail.com", "ada@gmail.com", true},
		{"a.d.a@example.org", "ada@example.org", false},
		{"+@example.org", "@example.org", false},
		{"ÄDA@example.org", "äda@example.org", true},
		{"ａｄａ@example.org", "ada@example.org", true}, // full width
		{"ada@example.org", "ada@example.com", false},
	} {
		if same := rules.normalEmail(test.a) == rules.normalEmail(test.b); same != test.same {
			t.Errorf("%q and %q: same %v", test.a, test.b, same)
		}
	}
	a, b := somebody(), somebody()
	same := func(text func(*Person) []byte) bool { return bytes.Equal(text(&a), text(&b)) }
	b.Line1, b.Line2, b.Postcode = "千代田1-1 2階", "", "1000001"
	if !same(addressText1) || !same(personText1) {
		t.Error("where an address is split makes a difference")
	}
	b.City = "Tokyo"
	if !same(addressText1) || same(personText1) {
		t.Error("a city counts for the limit, or does not count for the content")
	}
	a.Postcode, b.Postcode = "", ""
	if same(addressText1) {
		t.Error("without a postcode the city does not count")
	}
}

// TestFoldCaseOfASCII compares the short path for ASCII with the long one.
func TestFoldCaseOfASCII(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[ -~]{0,40}`).Draw(t, "text")
		if short, long := foldCase(s), strings.TrimSuffix(foldCase(s+"é"), foldCase("é")); short != long {
			t.Fatalf("%q: %q and %q", s, short, long)
		}
	})
}

func TestStringsHoldNothingPersonal(t *testing.T) {
	p := somebody()
	for _, s := range []string{p.String(), p.GoString()} {
		if strings.Contains(s, "taro") || strings.Contains(s, "山田") {
			t.Errorf("%q reveals the person", s)
		}
	}
}
