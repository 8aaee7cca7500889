package draw

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrFile: the file is not the result of a draw with its secret, entries and public
// randomness. The text names the first mistake.
var ErrFile = errors.New("the file is not a correct draw")

// MaxFile bounds the JSON of a file, in bytes: about two million entries.
const MaxFile = 200 << 20

// Read parses a file's JSON. It is strict: one value, no unknown fields. It does not verify
// the draw.
func Read(r io.Reader) (File, error) {
	d := json.NewDecoder(io.LimitReader(r, MaxFile))
	d.DisallowUnknownFields()
	var f File
	if err := d.Decode(&f); err != nil {
		return File{}, fmt.Errorf("%w: reading it: %v", ErrFile, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return File{}, fmt.Errorf("%w: there is data after its end", ErrFile)
	}
	return f, nil
}

// Verify repeats the draw of a file. nil means that the secret matches the commitment, and that
// winners and losers follow from the rule. Whether the commitment is the one that was
// published before the ballot opened, the list is complete, and the dice fell as written is
// for people to compare.
func Verify(f File) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrFile}, args...)...)
	}
	if f.Version != 1 {
		return wrong("version %d is unknown", f.Version)
	}
	if secret, err := hex.DecodeString(f.Secret); err != nil || len(secret) != 32 {
		return wrong("the secret is not 64 hex digits")
	}
	if commitmentOf(f.Secret) != f.Commitment {
		return wrong("the secret is not the one that was committed to")
	}
	if f.Stock < 0 {
		return wrong("the stock is negative")
	}
	if err := f.Public.Fits(f.Public.Kind, f.Closes); err != nil {
		return wrong("%v", err)
	}
	if err := f.Public.Genuine(); err != nil {
		return wrong("%v", err)
	}
	list := NewList()
	for i, e := range f.Entries {
		if i > 0 && e.Reference <= f.Entries[i-1].Reference {
			return wrong("entry %d, %q, is not in order or is a duplicate", i+1, e.Reference)
		}
		if e.Quantity < 1 {
			return wrong("entry %d, %q, wants no unit", i+1, e.Reference)
		}
		list.Add(e.Reference)
	}
	winners, losers := Run(Seed(f.Secret, list, f.Public.Text), f.Entries, f.Stock)
	if i := firstDifference(winners, f.Winners); i >= 0 {
		return wrong("winner %d is not the one that the draw results in", i+1)
	}
	if i := firstDifference(losers, f.Losers); i >= 0 {
		return wrong("loser %d is not the one that the draw results in", i+1)
	}
	return nil
}

// firstDifference returns the first index at which two lists differ, or -1.
func firstDifference(a, b []string) int {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return i
		}
	}
	return -1
}
