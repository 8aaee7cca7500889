package draw

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var closes = time.Date(2012, 2, 29, 7, 0, 0, 0, time.UTC)

// small returns a ballot that a class can redo: six entries, three units, one entry wants two.
func small() File {
	secret := strings.Repeat("ab", 32)
	f := File{
		Version: 3, Product: "pi", Opens: closes.Add(-time.Hour), Closes: closes, Stock: 3,
		Commitment: commitmentOf(secret), Secret: secret,
		Promised: Promise{Kind: Dice, Dice: 10}, Listed: closes.Add(time.Second), Boards: closes.Add(2 * time.Second), Taken: closes.Add(time.Hour),
		Public: Public{Kind: Dice, Text: "3611524661"},
		Entries: []Entry{
			{"0000-0000-014", 1}, {"0000-0000-028", 2}, {"4T2M-9XWQ-7H3", 1},
			{"7QMK-2XD9-5VZ", 1}, {"K7QM-2XD9-5VB", 2}, {"ZZZZ-ZZZZ-ZZ7", 1},
		},
	}
	redraw(&f)
	return f
}

// redraw makes a file's list and result those of its entries and randomness.
func redraw(f *File) {
	list := f.NewList()
	for _, e := range f.Entries {
		list.Add(e.Reference, e.Quantity)
	}
	f.List = list.Hash()
	f.Winners, f.Losers = Run(Seed(f.Version, f.Secret, f.List, f.Public.Text), f.Entries, f.Stock)
}

// drandFile returns the small ballot with the drand round 1,000, which it was promised.
func drandFile() File {
	f := small()
	f.Closes = RoundTime(1000).Add(-ListTime)
	f.Opens, f.Listed, f.Boards, f.Taken = f.Closes.Add(-time.Hour), f.Closes.Add(time.Second), f.Closes.Add(time.Second), RoundTime(1000).Add(time.Minute)
	f.Promised, f.Public = Promise{Kind: Drand, Round: 1000}, Public{Drand, round1000}
	redraw(&f)
	return f
}

// TestByHand runs the shell lines of DESIGN.md on a small ballot and compares.
func TestByHand(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh")
	}
	if _, err := exec.LookPath("sha256sum"); err != nil {
		t.Skip("there is no sha256sum")
	}
	design, err := os.ReadFile(filepath.Join("..", "DESIGN.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := bytes.Cut(design, []byte("```sh\n"))
	script, _, closed := bytes.Cut(rest, []byte("```"))
	if !found || !closed {
		t.Fatal("DESIGN.md has no shell lines")
	}
	f := small()
	dir := t.TempDir()
	var references strings.Builder
	for _, e := range f.Entries {
		fmt.Fprintln(&references, e.Reference, e.Quantity)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Handed in out of order: the lines sort them.
	write("entries", "ZZZZ-ZZZZ-ZZ7 1\n"+strings.TrimSuffix(references.String(), "ZZZZ-ZZZZ-ZZ7 1\n"))
	write("promise", fmt.Sprintf("pi\n2012-02-29T06:00:00Z\n2012-02-29T07:00:00Z\ndice 10\n%s\n", f.Commitment))
	write("times", "2012-02-29T07:00:01Z\n2012-02-29T07:00:02Z\n")
	write("units", fmt.Sprintln(f.Stock))
	write("secret", f.Secret+"\n")
	write("public", f.Public.Text+"\n")
	cmd := exec.Command(shell, "-e", "-c", string(script))
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := strings.Fields(string(out))
	if len(lines) != 3+len(f.Entries) || lines[0] != f.Commitment || lines[1] != f.PromiseHash() || lines[2] != f.List {
		t.Fatalf("commitment, promise and list: got %s, want %s, %s, %s", out, f.Commitment, f.PromiseHash(), f.List)
	}
	// Then come all references in the order drawn; the winners are counted off.
	var winners, losers []string
	left := f.Stock
	for _, ref := range lines[3:] {
		i := slices.IndexFunc(f.Entries, func(e Entry) bool { return e.Reference == ref })
		if q := int64(f.Entries[i].Quantity); q <= left {
			left -= q
			winners = append(winners, ref)
		} else {
			losers = append(losers, ref)
		}
	}
	if !slices.Equal(winners, f.Winners) || !slices.Equal(losers, f.Losers) {
		t.Fatalf("by hand %v, %v; the program %v, %v", winners, losers, f.Winners, f.Losers)
	}
}

func drand(round int) Public {
	return Public{Kind: Drand, Text: fmt.Sprintf("drand quicknet %d %096x", round, 7)}
}

func TestPublicFits(t *testing.T) {
	close := time.Unix(quicknetGenesis+30, 0) // when round 11 was made
	tests := []struct {
		public Public
		wanted Kind
		ok     bool
	}{
		{Public{}, None, true},
		{Public{}, Dice, false},
		{Public{Kind: Dice, Text: "1234561234"}, Dice, true},
		{Public{Kind: Dice, Text: "1 2 3 4 5 6 1 2 3 4"}, Dice, true},
		{Public{Kind: Dice, Text: "123456123"}, Dice, false},
		{Public{Kind: Dice, Text: "12345  61234"}, Dice, false},
		{Public{Kind: Dice, Text: " 1234561234"}, Dice, false},
		{Public{Kind: Dice, Text: strings.Repeat("6", MaxPublic+1)}, Dice, false},
		{Public{Kind: Dice, Text: "1234561234"}, Drand, false},
		{drand(11), Drand, false},
		{drand(12), Drand, true},
		{drand(0), Drand, false},
		{Public{Kind: Drand, Text: drand(12).Text + " "}, Drand, false},
		{Public{Kind: Drand, Text: strings.ToUpper(drand(12).Text)}, Drand, false},
		{Public{Kind: Drand, Text: strings.Replace(drand(12).Text, " 12", " 012", 1)}, Drand, false},
		{Public{Kind: "cards", Text: "queen"}, "cards", false},
		{Public{Text: "1"}, None, false},
	}
	for _, test := range tests {
		err := test.public.Fits(test.wanted, close)
		if (err == nil) != test.ok || err != nil && !errors.Is(err, ErrPublic) {
			t.Errorf("%q for %q: %v, want ok %v", test.public.Text, test.wanted, err, test.ok)
		}
	}
}

// TestEveryEntryHasTheSameChance draws one of ten often, with different secrets.
func TestEveryEntryHasTheSameChance(t *testing.T) {
	const draws, entries = 5000, 10
	list := make([]Entry, entries)
	for i := range list {
		list[i] = Entry{fmt.Sprintf("0000-0000-0%02d", i), 1}
	}
	wins := map[string]int{}
	for n := range draws {
		winners, _ := Run(Seed(2, fmt.Sprintf("%064x", n), strings.Repeat("0", 64), ""), list, 1)
		wins[winners[0]]++
	}
	for _, e := range list {
		// 500 wins are expected, with a deviation of 21; the secrets are always the same.
		if n := wins[e.Reference]; n < 400 || n > 600 {
			t.Errorf("%s won %d of %d draws", e.Reference, n, draws)
		}
	}
}

func FuzzRead(f *testing.F) {
	text, err := json.Marshal(small())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	for _, c := range sharedFiles(f) {
		f.Add([]byte(c.text))
	}
	f.Add([]byte(`{"version":1}`))
	f.Add([]byte(`{"entries":[{"reference":"","quantity":-1}]} x`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Read(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, ErrFile) {
				t.Fatalf("%v is not an ErrFile", err)
			}
			return
		}
		if err := Verify(file); err != nil {
			return
		}
		again, err := json.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := Read(bytes.NewReader(again)); err != nil || Verify(back) != nil {
			t.Fatalf("what holds does not hold any more when written again: %v", err)
		}
	})
}

func FuzzPublic(f *testing.F) {
	f.Add("dice", "36115 24661")
	f.Add("drand", drand(5).Text)
	f.Add("drand", "drand quicknet 99999999999999999999 00")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, kind, text string) {
		p := Public{Kind: Kind(kind), Text: text}
		if (Promise{Kind: Dice, Dice: 10}).Accepts(p) == nil && (len(text) != 10 || strings.ContainsFunc(text, func(c rune) bool { return c < '1' || c > '6' })) {
			t.Fatalf("%q passes as ten dice", text)
		}
		if p.Check() == nil && (len(text) > MaxPublic || strings.ContainsAny(text, "\n\r")) {
			t.Fatalf("%q passes", text)
		}
	})
}

func TestReadRefuses(t *testing.T) {
	for _, text := range []string{"", "{", "[]", `{"version":1}{}`, `{"seed":"x"}`, `{"version":"1"}`} {
		if _, err := Read(strings.NewReader(text)); !errors.Is(err, ErrFile) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func ExampleVerify() {
	f := small()
	fmt.Println(Verify(f))
	f.Winners[0], f.Losers[0] = f.Losers[0], f.Winners[0]
	fmt.Println(Verify(f))
	// Output:
	// <nil>
	// the file is not a correct draw: winner 1 is not the one that the draw results in
}
