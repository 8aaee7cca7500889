package draw

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// ErrFile: the file is not the result of a draw with its secret, entries and public
// randomness. The text names the first mistake.
var ErrFile = errors.New("the file is not a correct draw")

// ErrUndrawn: the file is right as far as it goes, and has no result yet.
var ErrUndrawn = errors.New("nothing is drawn yet")

// MaxFile bounds the JSON of a file, in bytes: about two million entries.
const MaxFile = 200 << 20

// lateList is the time after the close from which Doubts name when the list was fixed. A rack fixes it within seconds.
const lateList = time.Minute

// Read parses a file's JSON. It is strict: a file from version 3 on must be what the rack published, except for white
// space, so that no two programs read it differently. It does not verify the draw.
func Read(r io.Reader) (File, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxFile))
	if err != nil {
		return File{}, fmt.Errorf("%w: reading it: %v", ErrFile, err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var f File
	if err := d.Decode(&f); err != nil {
		return File{}, fmt.Errorf("%w: reading it: %v", ErrFile, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return File{}, fmt.Errorf("%w: reading it: there is data after its end", ErrFile)
	}
	var compact bytes.Buffer
	if again, err := json.Marshal(f); f.Version > 1 && (err != nil || json.Compact(&compact, data) != nil || !bytes.Equal(again, compact.Bytes())) {
		return File{}, fmt.Errorf("%w: reading it: it is not written as the rack writes it: a field is missing, doubled, moved or spelt differently", ErrFile)
	}
	return f, nil
}

// Verify repeats the draw of a file. nil means that promise, list, randomness and result follow from
// each other, and that the list was fixed before the randomness, by the file's own times. Whether these are as published, the
// list is complete, and the dice fell as written is for people to compare; an ErrUndrawn says what to save for that, and Doubts what
// comparing does not help with. The shop's
// page verify.html gives the same sentences in the same order; only it cannot check drand's signature.
func Verify(f File) error {
	var first error
	require := func(ok bool, format string, args ...any) {
		if !ok && first == nil {
			first = fmt.Errorf("%w: "+format, append([]any{ErrFile}, args...)...)
		}
	}
	p, round := f.Promised, uint64(0)
	if p.Kind == Drand {
		round = RoundAfter(f.Closes)
	}
	hasResult := f.Secret != "" || len(f.Winners)+len(f.Losers) > 0
	require(f.Version != 1, "version 1 proves too little: the same dice had many spellings, any drand round after the close counted, "+
		"and the list was not published before the randomness. So whoever ran the rack could choose among many results")
	require(f.Version == 3, "version %d is unknown", f.Version)
	require(strings.Trim(f.Product, "abcdefghijklmnopqrstuvwxyz0123456789-") == "", "the product is not a slug")
	require(isHash(f.Commitment), "the commitment is not 64 small hex digits")
	require(isPlainTime(f.Opens) && isPlainTime(f.Closes) && isPlainTime(f.Listed) && isPlainTime(f.Boards) && isPlainTime(f.Taken), "a time is not in UTC and whole milliseconds")
	require(p.Kind.Known(), "the promised kind of randomness is unknown")
	require(p.Kind == Dice && p.Dice >= LeastDice && p.Dice <= MostDice || p.Kind != Dice && p.Dice == 0, "the promised number of dice is not %d to %d", LeastDice, MostDice)
	require(p.Round == round, "round %d was promised, but this close needs round %d", p.Round, round)
	if first == nil && f.List == "" && len(f.Entries) == 0 && f.Public == (Public{}) && !hasResult {
		return fmt.Errorf("%w: the list is not fixed yet. Save the promise and its hash, %s", ErrUndrawn, f.PromiseHash())
	}
	require(f.List != "", "the list's hash is missing")
	require(!f.Listed.IsZero(), "the time when the list was fixed is missing")
	require(!f.Fixed().Before(f.Closes), "the list was fixed before the close")
	require(p.Kind != Drand || !f.Boards.IsZero(), "most boards' own clocks agreed on no time, so nobody knows whether the list was fixed before the round")
	require(p.Kind != Drand || f.Fixed().Before(RoundTime(round)), "the list was fixed at %s, when round %d was known", formatTime(f.Fixed()), round)
	require(f.Stock >= 0 && f.Stock <= math.MaxInt32, "the stock is negative or too large")
	list := f.NewList()
	for i, e := range f.Entries {
		require(len(e.Reference) == 13 && strings.Trim(e.Reference, "-0123456789ABCDEFGHJKMNPQRSTVWXYZ") == "", "entry %d has no reference", i+1)
		require(i == 0 || e.Reference > f.Entries[i-1].Reference, "entry %d is not in order or is a duplicate", i+1)
		require(e.Quantity >= 1 && e.Quantity <= math.MaxInt32, "entry %d wants no unit or too many", i+1)
		list.Add(e.Reference, e.Quantity)
	}
	require(list.Hash() == f.List, "the list, or the promise that its hash covers, is not the one that was published")
	if hasResult || f.Public != (Public{}) {
		err := p.Accepts(f.Public)
		require(err == nil, "%w", err)
	}
	require(f.Public.Kind != None || f.Taken.IsZero(), "there is a time for randomness, but no randomness")
	require(f.Public.Kind == None || !f.Taken.Before(f.Listed), "the randomness came before the list was fixed")
	require(f.Public.Kind != Drand || !f.Taken.Before(RoundTime(round)), "the randomness came before its round was made")
	if first == nil && !hasResult {
		return fmt.Errorf("%w: the list is fixed. Save its hash, %s", ErrUndrawn, f.List)
	}
	require(isHash(f.Secret), "the secret is not 64 small hex digits")
	require(commitmentOf(f.Secret) == f.Commitment, "the secret is not the one that was committed to")
	if first != nil {
		return first
	}
	winners, losers := Run(Seed(f.Version, f.Secret, f.List, f.Public.Text), f.Entries, f.Stock)
	i, j := firstDifference(winners, f.Winners), firstDifference(losers, f.Losers)
	require(i < 0, "winner %d is not the one that the draw results in", i+1)
	require(j < 0, "loser %d is not the one that the draw results in", j+1)
	if first == nil {
		err := f.Public.Genuine()
		require(err == nil, "%w", err)
	}
	return first
}

// Doubts returns what nobody can see from a file of which Verify finds nothing wrong, a sentence each. The page has the same ones.
func Doubts(f File) []string {
	var list []string
	if f.Promised.Kind == None {
		list = append(list, "There is no public randomness: this does not protect against the people who run the rack.")
	}
	switch {
	case f.List == "":
	case f.Boards.IsZero():
		list = append(list, "When the list was fixed, most boards' own clocks agreed on no time: its time is by the ledger's clock alone, which an operator can set.")
	case f.Boards.Sub(f.Listed).Abs() > 5*time.Second: // less is corrected gradually
		list = append(list, fmt.Sprintf("The ledger's clock was held: when it showed %s and the list was fixed, most boards' own clocks showed %s.", formatTime(f.Listed), formatTime(f.Boards)))
	}
	if f.Promised.Kind == Dice && f.List != "" && f.Fixed().Sub(f.Closes) > lateList { // Verify holds drand's against its round
		list = append(list, fmt.Sprintf("The list was fixed at %s, long after the close at %s: whoever fixed it could have known dice that fell before.", formatTime(f.Fixed()), formatTime(f.Closes)))
	}
	return list
}

// isPlainTime reports whether a time has one spelling in JSON, and the precision of the ledger's clock.
func isPlainTime(t time.Time) bool {
	_, offset := t.Zone()
	return offset == 0 && t.Nanosecond()%int(time.Millisecond) == 0
}

// isHash reports whether a text is 32 bytes in their one spelling.
func isHash(text string) bool { return len(text) == 64 && strings.Trim(text, "0123456789abcdef") == "" }

// firstDifference returns the first index at which two lists differ, or -1.
func firstDifference(a, b []string) int {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return i
		}
	}
	return -1
}
