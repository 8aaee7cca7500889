package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"bramble/node/orders"
)

const testPassphrase = "correct horse battery staple"

// newTestBook returns a book with orders.
func newTestBook(t testing.TB, n int) *orders.Book {
	t.Helper()
	b, err := orders.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	at := time.Date(2012, 2, 29, 6, 0, 0, 0, time.UTC)
	batch := [][]byte{orders.Encode(orders.Offer{
		Operation: orders.Operation{Operator: orders.CatalogueOperator, OpID: 1}, Product: "berry", Mode: orders.FirstCome,
		Stock: 1_000_000, Limit: 2, Opens: at, Price: 22_00, Currency: "GBP", Countries: []orders.Country{{Code: "GB"}},
	})}
	for i := range n {
		batch = append(batch, orders.Encode(orders.PlaceOrder{
			ID: orders.ID(uint64(i+1) * 0x9e3779b97f4a7c15 >> 14), Product: "berry", Kind: orders.KindOrder, Quantity: 1, Total: 22_00, Currency: "GBP",
			Person: newPerson(i),
		}))
	}
	for index := uint64(1); len(batch) > 0; index++ {
		part := batch[:min(len(batch), 1000)]
		if _, err := b.Apply(index, at, orders.MaxRules, part); err != nil {
			t.Fatal(err)
		}
		batch = batch[len(part):]
	}
	return b
}

// newPerson returns a person whom a file cannot store in much less than a real one.
func newPerson(i int) orders.Person {
	pick := func(of string, salt uint64) string {
		all := strings.Fields(of)
		return all[(uint64(i+1)*salt>>33)%uint64(len(all))]
	}
	const given = "Ada Grace Alan Edsger Barbara Donald Frances Ken Radia Dennis Margaret Niklaus Hedy John Katherine Leslie Sophie Steve Mary Tim"
	const family = "Lovelace Hopper Turing Dijkstra Liskov Knuth Allen Thompson Perlman Ritchie Hamilton Wirth Lamarr Backus Johnson Lamport Wilson Furber Jackson Lee"
	const roads = "Hedgerow Orchard Station Church Mill Victoria Green Park Queen London"
	const cities = "Cambridge Cardiff York Leeds Bath Oxford Swansea Glasgow Norwich Derby Exeter Durham"
	first, last := pick(given, 0x9e3779b97f4a7c15), pick(family, 0xbf58476d1ce4e5b9)
	return orders.Person{
		Name: first + " " + last, Email: fmt.Sprintf("%s.%s%d@example.org", strings.ToLower(first), strings.ToLower(last), i),
		Line1: fmt.Sprintf("%d %s Lane", i, pick(roads, 0x94d049bb133111eb)), City: pick(cities, 0xd6e8feb86659fd93),
		Postcode: fmt.Sprintf("CB%d %dAB", i%29, i%10), Country: "GB",
	}
}

// sourceOf returns a source that writes a book.
func sourceOf(b *orders.Book) Source {
	return func(_ context.Context, to io.Writer) error {
		s, p, err := b.OpenBackup()
		if err != nil {
			return err
		}
		defer s.Close()
		return WriteStream(to, Header{
			Program: "test", Board: "board-1", Ledger: "1234", Index: p.Index, At: p.At, Rules: orders.MaxRules,
			Digest: FormatDigest(p.Digest), Orders: p.Orders, Products: p.Products, ReceiptKeys: [][]byte{{1, 2}},
		}, s)
	}
}

// sealed returns the file of a book.
func sealed(t testing.TB, k *Keyring, from Source) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := k.Seal(&file, func(w io.Writer) error { return from(t.Context(), w) }); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func newPassphraseKeyring(t testing.TB, text string) *Keyring {
	t.Helper()
	k, err := NewPassphraseKeyring(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRoundTrip(t *testing.T) {
	b := newTestBook(t, 300)
	owner, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	toRecipients, err := NewRecipientsKeyring([]string{other.Recipient().String(), owner.Recipient().String()})
	if err != nil {
		t.Fatal(err)
	}
	withIdentity, err := NewIdentitiesKeyring(strings.NewReader("# created: today\n" + owner.String() + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	passphrase := newPassphraseKeyring(t, testPassphrase)
	for name, keyrings := range map[string][2]*Keyring{
		"passphrase": {passphrase, newPassphraseKeyring(t, testPassphrase)}, "recipients": {toRecipients, withIdentity}, "read back": {toRecipients, toRecipients},
	} {
		dir := t.TempDir()
		var book bytes.Buffer
		h, _, err := Make(t.Context(), Folder(dir), "one.age", keyrings[0], sourceOf(b), CheckBook)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if h.Orders != 300 || h.Index != 1 || h.Digest != FormatDigest(b.Digest()) || len(h.ReceiptKeys) != 1 {
			t.Errorf("%s: %+v", name, h)
		}
		file, err := os.ReadFile(filepath.Join(dir, "one.age"))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(file, []byte("Hedgerow")) {
			t.Errorf("%s: an address is readable", name)
		}
		if _, err := keyrings[1].Open(bytes.NewReader(file), func(_ Header, r io.Reader) error { _, err := io.Copy(&book, r); return err }); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := Make(t.Context(), Folder(dir), "one.age", keyrings[0], sourceOf(b), nil); err == nil || !strings.Contains(err.Error(), "exists already") {
			t.Errorf("%s: a second one under the same name: %v", name, err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
			t.Errorf("%s: %v", name, left)
		}
	}
}

// Each kind of damage has one sentence, and no damage passes.
func TestDamage(t *testing.T) {
	k := newPassphraseKeyring(t, testPassphrase)
	from := sourceOf(newTestBook(t, 2000))
	good := sealed(t, k, from)
	var plain bytes.Buffer
	if err := from(t.Context(), &plain); err != nil {
		t.Fatal(err)
	}
	flipped := func(at int) []byte {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		return bad
	}
	sealAs := func(data []byte) []byte {
		return sealed(t, k, func(_ context.Context, w io.Writer) error { _, err := w.Write(data); return err })
	}
	newer := bytes.Replace(plain.Bytes(), []byte("bramble backup 2\n"), []byte("bramble backup 3\n"), 1)
	newRules := bytes.Replace(plain.Bytes(), fmt.Appendf(nil, `"rules":%d`, orders.MaxRules), fmt.Appendf(nil, `"rules":%d`, orders.MaxRules+1), 1)
	otherBook := bytes.Replace(plain.Bytes(), []byte("Hedgerow"), []byte("Hedgerov"), 1)
	for name, tt := range map[string]struct {
		file []byte
		want error
	}{
		"good":                    {good, nil},
		"empty":                   {nil, ErrNotBackup},
		"another file":            {[]byte("[board]\nname = \"a\"\n"), ErrNotBackup},
		"another age file":        {sealAs([]byte("hello")), ErrNotBackup},
		"cut in the header":       {good[:100], ErrNotBackup},
		"cut in the middle":       {good[:len(good)/2], ErrDamaged},
		"cut at a chunk":          {good[:len(good)-len(good)%(64<<10)], ErrDamaged},
		"cut by a byte":           {good[:len(good)-1], ErrDamaged},
		"a byte more":             {append(bytes.Clone(good), 0), ErrDamaged},
		"a bit in the middle":     {flipped(len(good) / 2), ErrDamaged},
		"a bit at the end":        {flipped(len(good) - 1), ErrDamaged},
		"a newer format":          {sealAs(newer), ErrNewer},
		"newer rules":             {sealAs(newRules), ErrNewer},
		"a changed order":         {sealAs(otherBook), ErrDamaged},
		"a stream cut":            {sealAs(plain.Bytes()[:plain.Len()-40]), ErrDamaged},
		"data after the stream":   {sealAs(append(plain.Bytes(), 1)), ErrDamaged},
		"another passphrase":      {sealed(t, newPassphraseKeyring(t, testPassphrase+"!"), from), ErrWrongKey},
		"a frame of another size": {sealAs(bytes.Replace(plain.Bytes(), []byte("}\x00\x01\x00\x00"), []byte("}\x00\x01\x00\x01"), 1)), ErrDamaged},
	} {
		_, err := k.Open(bytes.NewReader(tt.file), CheckBook)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v; want %v", name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one line: %q", name, err)
		}
	}
}

// Recorded backups of each format: every later program must open them. Never record one again.
func TestRecordedBackups(t *testing.T) {
	k := newPassphraseKeyring(t, testPassphrase)
	for path, want := range map[string]uint64{"../orderservice/testdata/recorded/rack.age": 0, "testdata/recorded/format2.age": 20} {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		h, err := k.Open(bytes.NewReader(file), CheckBook)
		if err != nil || want != 0 && h.Orders != want {
			t.Errorf("%s: %+v, %v", path, h, err)
		}
	}
}

func TestKeyringsRefuse(t *testing.T) {
	for name, make := range map[string]func() (*Keyring, error){
		"a short passphrase": func() (*Keyring, error) { return NewPassphraseKeyring("short") },
		"no recipients":      func() (*Keyring, error) { return NewRecipientsKeyring(nil) },
		"a secret key":       func() (*Keyring, error) { return NewRecipientsKeyring([]string{"AGE-SECRET-KEY-1"}) },
		"no identity":        func() (*Keyring, error) { return NewIdentitiesKeyring(strings.NewReader("# nothing\n")) },
	} {
		if _, err := make(); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// brokenDisk changes what is read back.
type brokenDisk struct{ Folder }

func (b brokenDisk) Put(ctx context.Context, name string, write func(io.Writer) error, verify func(io.Reader) error) error {
	return b.Folder.Put(ctx, name, write, func(r io.Reader) error {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		data[len(data)/2] ^= 1
		return verify(bytes.NewReader(data))
	})
}

func TestNothingIsLeftOfWhatCannotBeReadBack(t *testing.T) {
	dir := t.TempDir()
	_, _, err := Make(t.Context(), brokenDisk{Folder(dir)}, "one.age", newPassphraseKeyring(t, testPassphrase), sourceOf(newTestBook(t, 10)), nil)
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
	failed := errors.New("the ledger is away")
	_, _, err = Make(t.Context(), Folder(dir), "two.age", newPassphraseKeyring(t, testPassphrase), func(context.Context, io.Writer) error { return failed }, nil)
	if !errors.Is(err, failed) {
		t.Errorf("%v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// FuzzReadStream: no bytes make the reader panic or take memory without a bound.
func FuzzReadStream(f *testing.F) {
	var plain bytes.Buffer
	if err := sourceOf(newTestBook(f, 3))(f.Context(), &plain); err != nil {
		f.Fatal(err)
	}
	f.Add(plain.Bytes())
	f.Add([]byte("bramble backup 1\n\xff\xff\xff\xff"))
	f.Add([]byte("bramble backup 1\n\x00\x00\x00\x02{}\x00\x00\x00\x01a\x00\x00\x00\x00"))
	f.Add([]byte("bramble backup 99999999999\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var book bytes.Buffer
		h, err := ReadStream(bytes.NewReader(data), func(_ Header, r io.Reader) error { _, err := io.Copy(&book, r); return err })
		if err != nil {
			for _, kind := range []error{ErrDamaged, ErrNotBackup, ErrNewer} {
				if errors.Is(err, kind) {
					return
				}
			}
			t.Fatalf("an error of no kind: %v", err)
		}
		var again bytes.Buffer
		if err := WriteStream(&again, h, &book); err != nil {
			t.Fatal(err)
		}
	})
}

// A snapshot of a newer version is not taken for damage.
func TestNewerSnapshot(t *testing.T) {
	err := CheckBook(Header{Rules: 1}, strings.NewReader("bramble orders snapshot 3\n"+strings.Repeat("x", 100)))
	if !errors.Is(err, ErrNewer) || errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}
