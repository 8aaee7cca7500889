package draw

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A sharedFile is a file that Verify and the page verify.html both judge, in the words of says, "" if
// it holds. The page cannot check a signature.
type sharedFile struct{ name, text, says string }

// sharedFiles reads the files in testdata/files, and what each must be told.
func sharedFiles(t testing.TB) (list []sharedFile) {
	t.Helper()
	table, err := os.ReadFile(filepath.Join("testdata", "files", "says.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		name, says, _ := strings.Cut(strings.TrimSpace(line), ":")
		text, err := os.ReadFile(filepath.Join("testdata", "files", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, sharedFile{name, string(text), strings.TrimSpace(says)})
	}
	return list
}

// changedFiles are the files of testdata/files, as changes of small and drandFile.
func changedFiles() map[string]string {
	files := map[string]string{}
	add := func(name string, f File, change func(*File)) {
		change(&f)
		text, err := json.MarshalIndent(f, "", "  ")
		if err != nil {
			panic(err)
		}
		files[name] = string(text) + "\n"
	}
	dice := func(name string, change func(*File)) { add(name, small(), change) }
	drand := func(name string, change func(*File)) { add(name, drandFile(), change) }
	dice("holds-dice", func(*File) {})
	drand("holds-drand", func(*File) {})
	none := func(f *File) {
		f.Promised, f.Public, f.Taken = Promise{}, Public{}, time.Time{}
		redraw(f)
	}
	dice("holds-none", none)
	dice("holds-empty", func(f *File) { f.Entries = []Entry{}; redraw(f) })
	dice("version-1", func(f *File) {
		f.Version, f.Promised, f.List, f.Listed, f.Boards, f.Taken = 1, Promise{}, "", time.Time{}, time.Time{}, time.Time{}
	})
	dice("version-4", func(f *File) { f.Version = 4 })
	dice("version-2", func(f *File) { f.Version = 2; redraw(f) })
	dice("holds-dice-held-clock", func(f *File) { f.Boards = f.Listed.Add(10 * time.Minute); redraw(f) })
	dice("holds-dice-late-list", func(f *File) {
		f.Listed = f.Closes.Add(lateList + time.Millisecond)
		f.Boards, f.Taken = f.Listed, f.Listed.Add(time.Hour)
		redraw(f)
	})
	dice("holds-dice-list-in-time", func(f *File) {
		f.Listed = f.Closes.Add(lateList)
		f.Boards, f.Taken = f.Listed, f.Listed.Add(time.Hour)
		redraw(f)
	})
	dice("holds-dice-no-clock", func(f *File) { f.Boards = time.Time{}; redraw(f) })
	drand("drand-no-clock", func(f *File) { f.Boards = time.Time{}; redraw(f) })
	drand("drand-held-clock", func(f *File) { f.Boards = RoundTime(1000); redraw(f) })
	drand("holds-drand-moved", func(f *File) { f.Listed, f.Boards = f.Closes.Add(-time.Hour), f.Closes; redraw(f) })
	dice("promised-more-dice", func(f *File) { f.Promised.Dice, f.Public.Text = 12, "361152466136" })
	dice("promised-commitment", func(f *File) { f.Promised, f.Public, f.Taken = Promise{}, Public{}, time.Time{} })
	dice("promised-earlier", func(f *File) { f.Closes = f.Closes.Add(-time.Hour) })
	dice("opened-earlier", func(f *File) { f.Opens = f.Opens.Add(-time.Hour) })
	dice("another-product", func(f *File) { f.Product = "po" })
	dice("listed-later", func(f *File) { f.Listed = f.Listed.Add(time.Second) })
	dice("boards-later", func(f *File) { f.Boards = f.Boards.Add(time.Second) })
	dice("product", func(f *File) { f.Product = "<Pi>" })
	dice("commitment-spelt", func(f *File) { f.Commitment = strings.ToUpper(f.Commitment) })
	dice("time-of-a-zone", func(f *File) { f.Closes = f.Closes.In(time.FixedZone("", 3600)) })
	dice("time-too-fine", func(f *File) { f.Listed = f.Listed.Add(time.Microsecond) })
	dice("promised-nothing-known", func(f *File) { f.Promised.Kind = "cards" })
	dice("promised-few-dice", func(f *File) { f.Promised.Dice = 9 })
	dice("promised-dice-without", func(f *File) { none(f); f.Promised.Dice = 10 })
	drand("promised-later-round", func(f *File) { f.Promised.Round = 1001 })
	drand("close-moved", func(f *File) { f.Closes = f.Closes.Add(-3 * time.Second) })
	dice("promised-round-without", func(f *File) { f.Promised.Round = 1000 })
	dice("undrawn-open", func(f *File) {
		f.List, f.Listed, f.Boards, f.Taken, f.Secret, f.Public, f.Entries, f.Winners, f.Losers = "", time.Time{}, time.Time{}, time.Time{}, "", Public{}, []Entry{}, []string{}, []string{}
	})
	undrawn := func(f *File) {
		f.Taken, f.Secret, f.Public, f.Winners, f.Losers = time.Time{}, "", Public{}, []string{}, []string{}
	}
	dice("undrawn-listed", undrawn)
	dice("undrawn-dice", func(f *File) { f.Secret, f.Winners, f.Losers = "", []string{}, []string{} })
	dice("undrawn-wrong-list", func(f *File) { undrawn(f); f.Entries[0].Quantity = 2 })
	dice("listed-at-no-time", func(f *File) { f.Listed = time.Time{}; redraw(f) })
	drand("listed-at-no-time-drand", func(f *File) { f.Listed = time.Time{}; redraw(f) })
	dice("no-list", func(f *File) { f.List = "" })
	dice("listed-before-close", func(f *File) { f.Listed = f.Closes.Add(-time.Millisecond); f.Boards = f.Listed })
	drand("listed-late", func(f *File) { f.Listed = RoundTime(1000) })
	dice("stock-negative", func(f *File) { f.Stock = -1 })
	dice("stock-more", func(f *File) { f.Stock = 4 })
	dice("entry-less", func(f *File) { f.Entries = f.Entries[:5] })
	dice("entry-more-units", func(f *File) { f.Entries[0].Quantity = 2 })
	dice("entry-twice", func(f *File) { f.Entries[1] = f.Entries[0] })
	dice("entry-of-nothing", func(f *File) { f.Entries[2].Quantity = 0 })
	dice("entry-spelt", func(f *File) { f.Entries[5].Reference = "zzzz-zzzz-zz7" })
	dice("entry-of-two-lines", func(f *File) { f.Entries[1].Reference = "0000-0000-028 2\n4T2M-9XWQ-7H3" })
	dice("list-of-others", func(f *File) { f.Entries = f.Entries[1:]; list := f.List; redraw(f); f.List = list })
	dice("another-kind", func(f *File) { f.Public, f.Taken = Public{}, time.Time{}; redraw(f) })
	dice("no-kind-for-dice", func(f *File) { f.Public.Kind = "" })
	dice("other-dice", func(f *File) { f.Public.Text = "3611524662" })
	dice("dice-with-blank", func(f *File) { f.Public.Text = "36115 24661"; redraw(f) })
	dice("dice-more", func(f *File) { f.Public.Text = "36115246611"; redraw(f) })
	dice("dice-seven", func(f *File) { f.Public.Text = "3611524667"; redraw(f) })
	drand("other-round", func(f *File) { f.Public.Text = strings.Replace(round1000, "1000", "1001", 1); redraw(f) })
	drand("round-spelt", func(f *File) { f.Public.Text = strings.Replace(round1000, "1000", "01000", 1); redraw(f) })
	drand("signature-spelt", func(f *File) { f.Public.Text = strings.Replace(round1000, "b44679", "B44679", 1); redraw(f) })
	drand("signature-short", func(f *File) { f.Public.Text = round1000[:len(round1000)-2]; redraw(f) })
	drand("drand-form", func(f *File) { f.Public.Text += " "; redraw(f) })
	drand("signature-wrong", func(f *File) { f.Public.Text = strings.Replace(round1000, "5e39", "5e38", 1); redraw(f) })
	dice("given-nothing", func(f *File) { none(f); f.Taken = f.Listed })
	dice("given-before-list", func(f *File) { f.Taken = f.Closes })
	drand("given-before-round", func(f *File) { f.Taken = RoundTime(999) })
	dice("no-secret", func(f *File) { f.Secret = "" })
	dice("secret-spelt", func(f *File) { f.Secret = strings.ToUpper(f.Secret); f.Commitment = commitmentOf(f.Secret); redraw(f) })
	dice("another-secret", func(f *File) { f.Secret = strings.Repeat("ac", 32); redraw(f) })
	dice("winner-more", func(f *File) { f.Winners = append(f.Winners, f.Losers[0]) })
	dice("winner-swapped", func(f *File) { f.Winners[0], f.Losers[0] = f.Losers[0], f.Winners[0] })
	dice("loser-less", func(f *File) { f.Losers = f.Losers[1:] })
	text := files["holds-dice"]
	replace := func(name, old, to string) { files[name] = strings.Replace(text, old, to, 1) }
	replace("json-cut", "\n}\n", "\n")
	replace("json-more", "\n}\n", "\n} {}")
	replace("json-unknown-key", `"list"`, `"seed": "x", "list"`)
	replace("json-doubled-key", `"stock": 3`, `"stock": 99, "stock": 3`)
	replace("json-key-in-capitals", `"stock": 3`, `"Stock": 3`)
	replace("json-moved-key", `"version": 3,`+"\n"+`  "product": "pi"`, `"product": "pi", "version": 3`)
	replace("json-number-spelt", `"stock": 3`, `"stock": 3.0`)
	replace("json-number-as-text", `"stock": 3`, `"stock": "3"`)
	replace("json-text-spelt", `"pi"`, `"\u0070i"`)
	replace("json-time-spelt", `07:00:00Z`, `07:00:00.0Z`)
	replace("json-list-for-text", `"pi"`, `["pi"]`)
	replace("json-null", `"losers": [`, `"losers": null, "x": [`)
	return files
}

// TestSharedFiles checks the words for each file, and that no file in testdata is out of date. With
// UPDATE_DRAW_FILES=1 it writes them.
func TestSharedFiles(t *testing.T) {
	files := changedFiles()
	if os.Getenv("UPDATE_DRAW_FILES") != "" {
		for name, text := range files {
			if err := os.WriteFile(filepath.Join("testdata", "files", name+".json"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	list := sharedFiles(t)
	for _, c := range list {
		if c.text != files[c.name] {
			t.Errorf("%s.json differs from what this test would write", c.name)
		}
		f, err := Read(strings.NewReader(c.text))
		if err == nil {
			err = Verify(f)
		}
		says := ""
		if err != nil {
			says = strings.TrimPrefix(err.Error(), ErrFile.Error()+": ")
			if wantUndrawn := strings.HasPrefix(c.name, "undrawn-") && c.name != "undrawn-wrong-list"; errors.Is(err, ErrFile) == wantUndrawn || errors.Is(err, ErrUndrawn) != wantUndrawn {
				t.Errorf("%s: %v is of the wrong kind", c.name, err)
			}
		}
		if strings.HasPrefix(c.says, "reading it") {
			says, _, _ = strings.Cut(says, ":") // the rest is the parser's
		}
		if says != c.says {
			t.Errorf("%s: %s\nwant %s", c.name, says, c.says)
		}
	}
	if len(list) != len(files) || len(list) < 60 {
		t.Errorf("%d files in says.txt, %d changes", len(list), len(files))
	}
}

// A list that was fixed long after the close leaves a doubt, by the later of the clocks; a round of drand is checked itself.
func TestALateListIsDoubted(t *testing.T) {
	for name, want := range map[string]string{
		"holds-dice": "", "holds-dice-list-in-time": "", "holds-drand": "", "undrawn-open": "",
		"holds-dice-late-list":  "The list was fixed at 2012-02-29T07:01:00Z, long after the close at 2012-02-29T07:00:00Z: whoever fixed it could have known dice that fell before.",
		"holds-dice-held-clock": "The list was fixed at 2012-02-29T07:10:01Z, long after",
	} {
		text, err := os.ReadFile(filepath.Join("testdata", "files", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		f, err := Read(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		doubts := Doubts(f)
		isDoubted := slices.ContainsFunc(doubts, func(d string) bool { return want != "" && strings.HasPrefix(d, want) })
		if isDoubted != (want != "") || want == "" && len(doubts) > 0 {
			t.Errorf("%s: %q", name, doubts)
		}
	}
}

// A board in strange hands knows everything that the others know, and can publish what it likes. But whatever it changes and
// makes consistent again, one of the two hashes that every other board shows is another one; or Verify refuses the file. Only the dice
// that fell, and when they were typed in, are for the witnesses.
func TestOneBoardCannotChangeTheDraw(t *testing.T) {
	for name, honest := range map[string]File{"dice": small(), "drand": drandFile()} {
		changes := map[string]func(*File){
			"version": func(f *File) { f.Version, f.Boards = 2, time.Time{} },
			"product": func(f *File) { f.Product = "po" },
			"opens":   func(f *File) { f.Opens = f.Opens.Add(-time.Millisecond) },
			"closes": func(f *File) {
				f.Closes = f.Closes.Add(-time.Millisecond)
				f.Promised.Round += map[bool]uint64{true: RoundAfter(f.Closes) - f.Promised.Round}[f.Promised.Kind == Drand]
			},
			"stock":            func(f *File) { f.Stock++ },
			"secret":           func(f *File) { f.Secret = strings.Repeat("cd", 32); f.Commitment = commitmentOf(f.Secret) },
			"to commitment":    func(f *File) { f.Promised, f.Public, f.Taken = Promise{}, Public{}, time.Time{} },
			"to another kind":  func(f *File) { f.Promised, f.Public = Promise{Kind: Dice, Dice: 12}, Public{Dice, "361152466136"} },
			"listed":           func(f *File) { f.Listed = f.Listed.Add(time.Millisecond) },
			"boards":           func(f *File) { f.Boards = f.Boards.Add(time.Millisecond) },
			"boards dropped":   func(f *File) { f.Boards = time.Time{} },
			"an entry less":    func(f *File) { f.Entries = f.Entries[1:] },
			"an entry more":    func(f *File) { f.Entries = append(slices.Clone(f.Entries), Entry{"ZZZZ-ZZZZ-ZZ8", 1}) },
			"another quantity": func(f *File) { f.Entries = slices.Clone(f.Entries); f.Entries[0].Quantity++ },
		}
		for what, change := range changes {
			f := honest
			change(&f)
			if Verify(f) == nil {
				t.Errorf("%s, %s: a file with one change holds", name, what)
			}
			redraw(&f)
			if err := Verify(f); f.PromiseHash() == honest.PromiseHash() && f.List == honest.List {
				t.Errorf("%s, %s: the same hashes, %v", name, what, err)
			}
		}
		for what, change := range map[string]func(*File){
			"commitment": func(f *File) { f.Commitment = strings.Repeat("0", 64) },
			"round":      func(f *File) { f.Promised.Round++ },
			"winners":    func(f *File) { f.Winners = f.Losers[:1] },
			"losers":     func(f *File) { f.Losers = nil },
			"public":     func(f *File) { f.Public.Text = strings.ReplaceAll(f.Public.Text, "5", "4") },
			"kind":       func(f *File) { f.Public.Kind = None },
			"list":       func(f *File) { f.List = strings.Repeat("0", 64) },
			"taken":      func(f *File) { f.Taken = f.Listed.Add(-time.Millisecond) },
		} {
			f := honest
			if change(&f); Verify(f) == nil {
				t.Errorf("%s, %s: a file with one change holds", name, what)
			}
		}
	}
}

// The same ten dice could be typed in 512 ways, and 31 of them made a chosen entry win.
func TestDiceHaveOneSpelling(t *testing.T) {
	const dice = "3611524661"
	p := Promise{Kind: Dice, Dice: len(dice)}
	accepted := 0
	for mask := range 1 << 9 {
		var b strings.Builder
		for i := range dice {
			if i > 0 && mask>>(i-1)&1 == 1 {
				b.WriteByte(' ')
			}
			b.WriteByte(dice[i])
		}
		u := Public{Dice, b.String()}
		if u.Check() != nil {
			t.Fatalf("%q is no old spelling", u.Text)
		}
		if err := p.Accepts(u); err == nil {
			accepted++
		} else if !errors.Is(err, ErrPublic) || !strings.Contains(err.Error(), "needs 10 dice, one die after another: 10 digits from 1 to 6, without blanks") {
			t.Fatal(err)
		}
	}
	for _, other := range []string{"", dice[1:], dice + "1", dice + " ", "\t" + dice[1:], "3611524660", "3611524667", "361152466１", "+611524661", "3611524661\n", "36115.4661"} {
		if p.Accepts(Public{Dice, other}) == nil {
			t.Errorf("%q is accepted", other)
		}
	}
	if accepted != 1 {
		t.Errorf("%d spellings of the same dice are accepted", accepted)
	}
}

// An hour's wait gave 1,200 rounds to choose from.
func TestACloseHasOneRound(t *testing.T) {
	at := RoundTime(1000)
	for _, tt := range []struct {
		closes time.Time
		want   uint64
	}{
		{at.Add(-ListTime), 1000}, {at.Add(-ListTime + time.Millisecond), 1001}, {at.Add(-ListTime - time.Millisecond), 1000},
		{at.Add(-ListTime - 3*time.Second), 999}, {closes, 1}, {RoundTime(1).Add(-ListTime), 1}, {time.Date(2199, 12, 31, 0, 0, 0, 0, time.UTC), 1855076412},
	} {
		got := RoundAfter(tt.closes)
		if made := RoundTime(got); got != tt.want || made.Before(tt.closes.Add(ListTime)) || got > 1 && !RoundTime(got-1).Before(tt.closes.Add(ListTime)) {
			t.Errorf("%v: round %d of %v, want %d", tt.closes, got, RoundTime(got), tt.want)
		}
	}
	promise, accepted := Promise{Kind: Drand, Round: RoundAfter(at.Add(-ListTime))}, 0
	for n := range 1200 {
		u := drand(800 + n)
		if err := u.Fits(Drand, at.Add(-ListTime-time.Second)); n > 0 && err != nil {
			t.Fatalf("round %d was no choice before: %v", 800+n, err)
		}
		if promise.Accepts(u) == nil {
			accepted++
		}
	}
	if accepted != 1 {
		t.Errorf("%d of 1,200 rounds are accepted", accepted)
	}
	f := drandFile()
	for n := range 1200 {
		f.Promised.Round = uint64(400 + n)
		f.Public.Text = strings.Replace(round1000, "1000", strconv.Itoa(400+n), 1)
		redraw(&f)
		if err := Verify(f); (err == nil) != (400+n == 1000) {
			t.Errorf("round %d: %v", 400+n, err)
		}
	}
}

// Read is strict, but white space is free.
func TestReadIgnoresWhiteSpace(t *testing.T) {
	text, err := json.Marshal(drandFile())
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "\t", " \t"); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(text), indented.String() + "\r\n "} {
		if f, err := Read(strings.NewReader(text)); err != nil || Verify(f) != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
