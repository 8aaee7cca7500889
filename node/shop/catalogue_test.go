package shop

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"bramble/node/orders"
	"bramble/node/orders/draw"
)

// small is a catalogue with one of each thing, of which tests change a line.
const small = `name = "Shop"
tagline = "A shop."
currency = "EUR"
tax_note = "With VAT."
[seller]
name = "S"
address = ["T"]
email = "s@t.example"
[[shipping]]
country = "DE"
name = "Germany"
price = "5.00"
[[announcement]]
time = 2030-01-01T00:00:00Z
text = "Hello."
[[product]]
slug = "thing"
name = "Thing"
tagline = "A thing."
description = ["One."]
price = "1234.50"
stock = 3
limit_per_person = 2
opens = 2030-01-02T07:30:00+01:00
`

func noPicture(string) ([]byte, error) { return nil, os.ErrNotExist }

func TestDefaultIsTheLaunch(t *testing.T) {
	cat, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	p := cat.Products[0]
	if p.Price.String() != "US$35.00" || p.Stock != 10000 || p.PerPerson != 1 {
		t.Errorf("price %v, stock %d, %d a person", p.Price, p.Stock, p.PerPerson)
	}
	if want := time.Date(2012, 2, 29, 6, 0, 0, 0, time.UTC); !p.Opens.Equal(want) {
		t.Errorf("opens %v, want %v", p.Opens, want)
	}
	if len(cat.Shipping) < 5 {
		t.Errorf("ships to %d countries only", len(cat.Shipping))
	}
}

func TestErrorsNameFileLineKeyAndRemedy(t *testing.T) {
	long := strings.Repeat("x", maxSentence+1)
	for _, c := range []struct{ old, new, want string }{
		{`stock = 3`, `stok = 3`, `shop.toml:22: product.stok: unknown key: the keys here are slug, name,`},
		{`[seller]`, `[sellers]`, `shop.toml:5: sellers: unknown key: the keys here are name, tagline,`},
		{`stock = 3`, `stock = "3"`, `shop.toml:22: product.stock: the value has the wrong type: write stock = 10000`},
		{`stock = 3`, `stock = -1`, `shop.toml:22: product.stock: -1 is out of range: write`},
		{`price = "1234.50"`, `price = 1234.5`, `shop.toml:21: product.price: the value has the wrong type: write price = "35.00"`},
		{`price = "1234.50"`, `price = "1234,50"`, `shop.toml:21: product.price: "1234,50" is not an amount in EUR: write`},
		{`price = "1234.50"`, ``, `shop.toml:16: product.price: missing: write price = "35.00"`},
		{`price = "5.00"`, `price = "5.0"`, `shop.toml:12: shipping.price: "5.0" is not an amount in EUR`},
		{`country = "DE"`, `country = "de"`, `shop.toml:10: shipping.country: "de" is not a country code`},
		{`07:30:00+01:00`, `07:30:00`, `shop.toml:24: product.opens: not a time with its zone: write opens = 2012`},
		{`07:30:00+01:00`, `07:30:00.5Z`, `shop.toml:24: product.opens: not a whole second`},
		{`tagline = "A shop."`, `tagline = "` + long + `"`, `shop.toml:2: tagline: 241 bytes long`},
		{`description = ["One."]`, "description = [\"One.\",\n\"\"]", `shop.toml:21: product.description: empty`},
		{`description = ["One."]`, `description = []`, `shop.toml:20: product.description: missing`},
		{`slug = "thing"`, `slug = "A thing"`, `shop.toml:17: product.slug: "A thing" cannot be part of a URL`},
		{`currency = "EUR"`, `currency = "EURO"`, `shop.toml:3: currency: "EURO" is not a currency`},
		{`email = "s@t.example"`, `email = "nobody"`, `shop.toml:8: seller.email: not a plain e-mail address`},
		{`stock = 3`, "stock = 3\nstate = \"open\"", `shop.toml:23: product.state: "open" cannot be set by hand`},
		{`stock = 3`, "stock = 3\npicture = \"../x.svg\"", `shop.toml:23: product.picture: "../x.svg" is not the name of a picture`},
		{`stock = 3`, "stock = 3\npicture = \"none.svg\"", `shop.toml:23: product.picture: "none.svg": there is no such picture`},
		{`price = "5.00"`, "price = \"5.00\"\ntax_percent = 19.0", `shop.toml:13: shipping.tax_percent: the value has the wrong type: write tax_percent = "19", in quotes`},
		{`price = "5.00"`, "price = \"5.00\"\ntax_percent = \"100.01\"", `shop.toml:13: shipping.tax_percent: 100.01 % is out of range: write tax_percent = "19"`},
		{`price = "5.00"`, "price = \"5.00\"\ntax_percent = \"7,5\"", `shop.toml:13: shipping.tax_percent: "7,5" is not a percentage: write tax_percent = "19"`},
		{`price = "5.00"`, "price = \"5.00\"\ntax_percent = \"7.125\"", `shop.toml:13: shipping.tax_percent: "7.125" is not a percentage`},
		{`price = "5.00"`, "price = \"5.00\"\ntax = 1900", `shop.toml:13: shipping.tax: unknown key: the keys here are country, name, price, tax_percent`},
		{`stock = 3`, "stock = 3\nmode = \"raffle\"", `shop.toml:23: product.mode: "raffle" is not a mode of sale: write mode = "first-come"`},
		{`stock = 3`, "stock = 3\nmode = \"ballot\"", `shop.toml:16: product.closes: missing (a ballot is drawn after it closes): write closes`},
		{`stock = 3`, "stock = 3\ncloses = 2030-01-02T06:30:00Z", `shop.toml:23: product.closes: the sale would close before it opens: write closes`},
		{`stock = 3`, "stock = 3\ncloses = \"soon\"", `shop.toml:23: product.closes: not a time with its zone: write closes`},
		{`stock = 3`, "stock = 3\nwaiting_list = \"yes\"", `shop.toml:23: product.waiting_list: the value has the wrong type: write waiting_list = true or false`},
		{`stock = 3`, "stock = 3\nmode = \"interest\"\nwaiting_list = true", `shop.toml:24: product.waiting_list: an interest list is already a waiting list: write`},
		{`stock = 3`, "stock = 3\nlimit_by_address = 1", `shop.toml:23: product.limit_by_address: the value has the wrong type: write`},
		{`stock = 3`, "stock = 3\nfulfilment_delay = \"2 days\"", `shop.toml:23: product.fulfilment_delay: "2 days" is not a delay: write fulfilment_delay = "24h"`},
		{`stock = 3`, "stock = 3\ninvitation_time = \"1s\"", `shop.toml:23: product.invitation_time: "1s" is not such a time: write invitation_time = "48h"`},
		{`stock = 3`, "stock = 3\nfulfilment_delay = \"2161h\"", `shop.toml:23: product.fulfilment_delay: "2161h" is not a delay`},
		{`2030-01-02T07:30:00+01:00`, `1999-12-31T23:00:00Z`, `shop.toml:24: product.opens: not between the years 2000 and 2199: write opens`},
		{`stock = 3`, "stock = 3\nmode = \"ballot\"\ncloses = 2031-01-01T00:00:00Z\nstate = \"closed\"", `shop.toml:25: product.state: a ballot's state follows from opens and closes: write state`},
		{`stock = 3`, "stock = 3\ndraw = \"dice\"", `shop.toml:23: product.draw: only a ballot has a draw: write draw`},
		{`stock = 3`, "stock = 3\nmode = \"ballot\"\ncloses = 2031-01-01T00:00:00Z\ndraw = \"dice\"\ndice = 9", `shop.toml:26: product.dice: 9 is out of range: write dice = 20`},
		{`stock = 3`, "stock = 3\nmode = \"ballot\"\ncloses = 2031-01-01T00:00:00Z\ndraw = \"dice\"\ndice = 101", `shop.toml:26: product.dice: 101 is out of range: write dice = 20`},
		{`stock = 3`, "stock = 3\nmode = \"ballot\"\ncloses = 2031-01-01T00:00:00Z\ndraw = \"drand\"\ndice = 20", `shop.toml:26: product.dice: only a draw by dice has it: write dice = 20`},
		{`stock = 3`, "stock = 3\nmode = \"ballot\"\ncloses = 2031-01-01T00:00:00Z\ndraw = \"coin\"", `shop.toml:25: product.draw: "coin" is not a method of drawing: write draw`},
		{"stock = 3\nlimit_per_person = 2\nopens = 2030-01-02T07:30:00+01:00", "stock = 3\nlimit_per_person = 2\nmode = \"ballot\"\ncloses = 2031-01-01T00:00:00Z", `shop.toml:16: product.opens: missing (a ballot's commitment is published before it opens): write opens`},
		{`stock = 3`, `stock = `, `shop.toml:22: `},
		{`stock = 3`, `stock = 99999999999999999999`, `shop.toml:22: product.stock`},
		{`stock = 3`, `stock = 3.5`, `shop.toml:22: product.stock: the value has the wrong type`},
		{`stock = 3`, "stock = 3\nstock = 4", `shop.toml:23: `},
		{`description = ["One."]`, "description = [\n1]", `shop.toml:21: product.description: the value has the wrong type`},
		{`description = ["One."]`, `description = "One."`, `shop.toml:20: product.description: the value has the wrong type`},
		{`name = "Thing"`, `name = {a = 1}`, `shop.toml:18: product.name`},
		{`[seller]`, `[[seller]]`, `shop.toml:5: seller`},
	} {
		text := strings.Replace(small, c.old, c.new, 1)
		if text == small {
			t.Fatalf("%q is not in the catalogue", c.old)
		}
		_, err := parseCatalogue("shop.toml", []byte(text), noPicture)
		if _, ok := errors.AsType[*CatalogueError](err); !ok {
			t.Errorf("%s: got %v, want a CatalogueError", c.new, err)
			continue
		}
		if got := err.Error(); !strings.HasPrefix(got, c.want) || strings.Contains(got, "\n") {
			t.Errorf("%s:\n got %s\nwant %s", c.new, got, c.want)
		}
	}
}

func TestHowAProductIsSold(t *testing.T) {
	cat, err := parseCatalogue("f", []byte(small), noPicture)
	if err != nil {
		t.Fatal(err)
	}
	if o := cat.Offers()[0]; o.Mode != orders.FirstCome || !o.LimitByAddress || o.WaitingList || o.FulfilmentDelay != defaultFulfilmentDelay || !o.Closes.IsZero() || o.PublicKind != draw.None {
		t.Errorf("with nothing said: %+v", o)
	}
	text := strings.Replace(small, "price = \"5.00\"", "price = \"5.00\"\ntax_percent = \"19\"", 1) +
		"closes = 2030-01-03T00:00:00Z\nmode = \"ballot\"\nwaiting_list = true\nlimit_by_address = false\nfulfilment_delay = \"36h\"\ninvitation_time = \"0s\"\ndraw = \"drand\"\n"
	if cat, err = parseCatalogue("f", []byte(text), noPicture); err != nil {
		t.Fatal(err)
	}
	o := cat.Offers()[0]
	want := orders.Offer{Product: "thing", Mode: orders.Ballot, Stock: 3, Limit: 2, WaitingList: true, Price: 123450, Currency: "EUR",
		Opens: time.Date(2030, 1, 2, 6, 30, 0, 0, time.UTC), Closes: time.Date(2030, 1, 3, 0, 0, 0, 0, time.UTC),
		Countries: []orders.Country{{Code: "DE", Shipping: 500, Tax: 1900}}, FulfilmentDelay: 36 * time.Hour, Invitations: orders.InviteByHand, PublicKind: draw.Drand}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("got %+v\nwant %+v", o, want)
	}
	o.Operation, o.Secret = orders.Operation{Operator: "the catalogue", OpID: 1}, [32]byte{1}
	if err := orders.Check(o); err != nil {
		t.Errorf("the order book refuses the offer: %v", err)
	}
	for state, stock := range map[orders.SaleState]int64{orders.SaleSoldOut: 0, orders.SaleClosed: 3} {
		cat, err := parseCatalogue("f", []byte(small+"state = \""+state.String()+"\"\n"), noPicture)
		if err != nil {
			t.Fatal(err)
		}
		o := cat.Offers()[0]
		o.Operation = orders.Operation{Operator: "the catalogue", OpID: 1}
		sale := orders.Sale{Mode: o.Mode, Free: o.Stock, Opens: o.Opens, Closes: o.Closes}
		if got := sale.StateAt(time.Date(2030, 2, 1, 0, 0, 0, 0, time.UTC)); orders.Check(o) != nil || o.Stock != stock || got != state {
			t.Errorf("said by hand to be %s: %s, %+v, %v", state, got, o, orders.Check(o))
		}
	}
}

func TestDuplicatesAreRejected(t *testing.T) {
	country := "[[shipping]]\ncountry = \"DE\"\nname = \"Again\"\nprice = \"1.00\"\n"
	if _, err := parseCatalogue("f", []byte(small+country), noPicture); err == nil || !strings.Contains(err.Error(), "f:26: shipping.country: DE appears twice") {
		t.Errorf("got %v", err)
	}
	product := small[strings.Index(small, "[[product]]"):]
	if _, err := parseCatalogue("f", []byte(small+product), noPicture); err == nil || !strings.Contains(err.Error(), "f:26: product.slug: thing appears twice") {
		t.Errorf("got %v", err)
	}
}

func TestLoadReadsPicturesBesideTheFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "shop.toml")
	write := func(name string, content []byte) {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(file, []byte(small+"picture = \"my.png\"\npicture_alt = \"Mine\"\n"))
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "no such picture") {
		t.Errorf("without the picture: %v", err)
	}
	mine := filepath.Join(dir, pictureFolder, "my.png")
	write(mine, []byte("png"))
	cat, err := Load(file)
	if err != nil || !strings.HasSuffix(cat.Products[0].Picture, "-my.png") {
		t.Errorf("with the picture: %v", err)
	}
	write(mine, make([]byte, maxPictureBytes+1))
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "larger than 256 KB") {
		t.Errorf("with a huge picture: %v", err)
	}
	write(file, make([]byte, maxCatalogueBytes+1))
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("with a huge file: %v", err)
	}
	if _, err := Load(filepath.Join(dir, "none.toml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
}

func TestMoney(t *testing.T) {
	for _, c := range []struct{ amount, currency, want string }{
		{"35.00", "USD", "US$35.00"}, {"35", "USD", "US$35.00"}, {"0.05", "GBP", "£0.05"},
		{"1234567.89", "EUR", "€1,234,567.89"}, {"4200", "JPY", "¥4,200"}, {"1.250", "KWD", "KWD\u00a01.250"},
	} {
		m, err := parseMoney(c.amount, c.currency)
		if err != nil || m.String() != c.want {
			t.Errorf("%s %s: got %v, %v, want %s", c.amount, c.currency, m, err, c.want)
		}
	}
	for _, bad := range []string{"", ".", "1.", ".50", "-1.00", "+1.00", "1e3", "1.000", "1,00", " 1.00", "9999999999999999999", "1000000000.01", "٣.00"} {
		if m, err := parseMoney(bad, "USD"); !errors.Is(err, errAmount) {
			t.Errorf("%q: got %v, %v, want ErrAmount", bad, m, err)
		}
	}
	if _, err := parseMoney("1", "XXX"); !errors.Is(err, errCurrency) {
		t.Errorf("an unknown currency: %v", err)
	}
}

func FuzzCatalogue(f *testing.F) {
	launch, err := builtIn.ReadFile("launch.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(launch)
	f.Add([]byte(small))
	f.Add([]byte("shipping = [{country = \"DE\", price = 1}]\nproduct.stock.x = [[1,\n2]]"))
	f.Add([]byte("[[product]]\n[[product.specification]]\nname = 1979-05-27\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		cat, err := parseCatalogue("f.toml", text, builtInPicture)
		if err != nil {
			e, ok := errors.AsType[*CatalogueError](err)
			if !ok || e.Line < 1 || strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("not one line with a line number: %q", err)
			}
			return
		}
		if _, err := New(cat, Options{}); err != nil && !errors.Is(err, ErrPageTooBig) {
			t.Fatal(err)
		}
	})
}

func TestPercent(t *testing.T) {
	for text, want := range map[string]int{"0": 0, "19": 1900, "7.7": 770, "7.75": 775, "100": 10000, "100.00": 10000, "08.10": 810} {
		c := &checker{}
		if got := c.checkPercent("tax_percent", text); got != want || c.err != nil {
			t.Errorf("%s: %d, %v; want %d", text, got, c.err, want)
		}
	}
	for _, text := range []string{"", ".", "1.", ".5", "-1", "+1", "1e1", "19 %", "100.01", "1000", "99999999999999999999"} {
		c := &checker{}
		if got := c.checkPercent("tax_percent", text); c.err == nil {
			t.Errorf("%q: %d, want an error", text, got)
		}
	}
}
