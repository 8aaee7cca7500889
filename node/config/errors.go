package config

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Kinds of mistake; match them with errors.Is.
var (
	ErrUnreadable = errors.New("cannot be read")  // no such file, or too large
	ErrSyntax     = errors.New("not valid TOML")  // or a key written twice
	ErrUnknownKey = errors.New("unknown key")     // key or table
	ErrWrongType  = errors.New("wrong type")      // a number where a string belongs
	ErrBadValue   = errors.New("value not valid") // out of range, mistyped
	ErrMissing    = errors.New("missing")         // a key without default
)

// maxErrors limits the mistakes that are reported of one file; one with more is
// probably another file.
const maxErrors = 20

// Error is one mistake in a file. Its text is one line that names file, line
// and key, the problem and its remedy. It never holds a
// rack key or a password.
type Error struct {
	File    string
	Line    int    // from 1; 0 if the mistake is in no line
	Column  int    // from 1; 0 unless the TOML decoder found the mistake
	Table   string // "rack"; "[site]" for one of several; "" outside any table
	Key     string // "key"; "" for a whole table or file
	Problem string
	Kind    error // one of the kinds above
	Cause   error // the system's error, or nil
}

// Error writes file:line: [table] key: problem.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": ")
	if e.Table != "" {
		fmt.Fprintf(&b, "[%s]", e.Table)
		if e.Key != "" {
			b.WriteString(" ")
		}
	}
	b.WriteString(e.Key)
	switch {
	case e.Table == "" && e.Key == "":
	case e.Kind == ErrMissing:
		b.WriteString(" ") // reads as a sentence: "[rack] key is missing"
	default:
		b.WriteString(": ")
	}
	b.WriteString(e.Problem)
	return b.String()
}

func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// Errors are the mistakes of one file, by line; those without a line come last.
type Errors struct {
	List []*Error // at least one, at most maxErrors
	More int      // number of further ones
}

// Error writes one line for each mistake.
func (e *Errors) Error() string {
	lines := make([]string, 0, len(e.List)+1)
	for _, one := range e.List {
		lines = append(lines, one.Error())
	}
	if e.More > 0 {
		lines = append(lines, fmt.Sprintf("%s: and %d more mistakes", e.List[0].File, e.More))
	}
	return strings.Join(lines, "\n")
}

func (e *Errors) Unwrap() []error {
	list := make([]error, len(e.List))
	for i, one := range e.List {
		list[i] = one
	}
	return list
}

// collectErrors returns one error for a list of mistakes, nil for none.
func collectErrors(list []*Error) error {
	if len(list) == 0 {
		return nil
	}
	position := func(e *Error) int { return cmp.Or(e.Line, math.MaxInt) }
	slices.SortStableFunc(list, func(a, b *Error) int { return cmp.Compare(position(a), position(b)) })
	all := &Errors{List: list}
	if len(list) > maxErrors {
		all.List, all.More = list[:maxErrors], len(list)-maxErrors
	}
	return all
}

const maxQuoted = 40 // limits the text of the file that a message repeats, in characters

// quote returns a part of the file for a message: short, on one line, and
// redacted if it looks like a rack key that ended up in the wrong place.
func quote(s string) string { return fmt.Sprintf("%q", shorten(s)) }

func shorten(s string) string {
	if strings.Contains(s, keyPrefix) {
		return redactedKey
	}
	if r := []rune(s); len(r) > maxQuoted {
		return string(r[:maxQuoted]) + "…"
	}
	return s
}

// onOneLine quotes a name with characters that do not print, such as a line
// break, which TOML allows in a key between quotes.
func onOneLine(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// Nearest returns the candidate that a mistyped word most likely means, and false if
// none is near: at most one edit per three letters, where a swap of neighbours is one
// edit. The command line uses it too.
func Nearest(word string, candidates []string) (string, bool) {
	best, at := "", max(len(word)/3+1, 2)
	if len(word) > 2*maxQuoted { // no key is this long, and the cost is quadratic
		return "", false
	}
	for _, c := range candidates {
		if d := editDistance(strings.ToLower(word), c); d < at {
			best, at = c, d
		}
	}
	return best, best != ""
}

// editDistance returns the optimal string alignment distance between two short words.
func editDistance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// suggestKey returns the end of the message about an unknown key: what was probably
// meant, or which keys there are.
func suggestKey(in, key string) string {
	var here, elsewhere []string
	for _, s := range allKeys() {
		if s.table == in {
			here = append(here, s.key)
		} else if s.key == key {
			elsewhere = append(elsewhere, "["+s.table+"]")
		}
	}
	if near, ok := Nearest(key, here); ok {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	if len(elsewhere) > 0 {
		return "; it belongs under " + strings.Join(elsewhere, " or ")
	}
	if len(here) > 0 {
		return fmt.Sprintf("; [%s] has %s", in, strings.Join(here, ", "))
	}
	return `; "bramble config" prints all keys`
}

func suggestTable(name string) string {
	var names []string
	for _, t := range tableSpecs() {
		names = append(names, t.name)
	}
	if near, ok := Nearest(name, names); ok {
		return fmt.Sprintf("; did you mean [%s]?", near)
	}
	return "; there are [" + strings.Join(names, "], [") + "]"
}
