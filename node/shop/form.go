package shop

import (
	"bufio"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Limits of a posted form, in bytes as received unless stated otherwise.
const (
	maxFormBytes   = 64 << 10 // of a form that is accepted
	maxBodyBytes   = 4 << 20  // read of a longer one, so that the fields after a huge one are not lost
	maxFormPairs   = 50       // name=value pairs of a form that is accepted
	maxFieldName   = 32       // of a field's name
	maxRawValue    = 4 << 10  // kept of one value before decoding: more than any allowed value needs
	maxHiddenValue = 64       // of a field that the page fills in itself
)

// Errors of a form as a whole. An error of one field is a fieldProblem.
var (
	errFormType          = errors.New("the form has a type that no browser sends for this page")
	errFormTooBig        = errors.New("the form is too big")
	errFormTooManyFields = errors.New("the form has too many fields")
	errFormIncomplete    = errors.New("the form did not arrive in one piece")
)

// fieldProblem describes the problem of one field, for the person who filled it in.
type fieldProblem struct {
	Field   string // the field's name
	Problem string
}

// Label returns the field's label on the page; "" if the page does not show the field.
func (p fieldProblem) Label() string {
	switch p.Field {
	case "country":
		return "Country"
	case "quantity":
		return "How many"
	}
	for _, field := range personFields() {
		if field.Name == p.Field {
			return field.Label
		}
	}
	return ""
}

// form is a posted form, as far as it could be parsed. A rejected form is parsed too,
// because the page shows the typed values again.
type form struct {
	values    map[string]string // by name; valid UTF-8, NFC, one line, trimmed, within the field's limit
	problems  []fieldProblem    // at most one per field
	malformed bool              // a problem is in the bytes, not in their meaning
	err       error             // one of the errors above, or nil
}

// get returns a field's value; "" if it was not sent.
func (f *form) get(name string) string { return f.values[name] }

// addProblem notes a problem with a field, unless the field has one already.
func (f *form) addProblem(name, text string) {
	if f.problemWith(name) == "" {
		f.problems = append(f.problems, fieldProblem{name, text})
	}
}

// problemWith returns the problem with a field; "" if there is none.
func (f *form) problemWith(name string) string {
	for _, p := range f.problems {
		if p.Field == name {
			return p.Problem
		}
	}
	return ""
}

// statusCode returns the status of the reply to a form that cannot be accepted; 0 if no
// problem is known.
func (f *form) statusCode() int {
	switch {
	case errors.Is(f.err, errFormType):
		return http.StatusUnsupportedMediaType
	case errors.Is(f.err, errFormTooBig):
		return http.StatusRequestEntityTooLarge
	case f.err != nil || f.malformed:
		return http.StatusBadRequest
	case len(f.problems) > 0:
		return http.StatusUnprocessableEntity
	}
	return 0
}

// readForm reads a request's form. limits has the known fields with their limits in bytes of
// UTF-8; all others are skipped. Request.ParseForm is unsuitable: it drops a form that is
// too long, accepts two fields of one name, and mixes in the query.
func readForm(r *http.Request, limits map[string]int) *form {
	f := &form{values: map[string]string{}}
	if !isFormType(r.Header) {
		f.err = errFormType
		return f
	}
	if r.Body == nil {
		return f
	}
	body := bufio.NewReader(io.LimitReader(r.Body, maxBodyBytes))
	size, pairs, seen := 0, 0, map[string]bool{}
	for {
		p, err := readPair(body)
		size += p.size
		if p.size > 1 || err == nil { // more than just the end of the body
			pairs++
			f.addPair(p, limits, seen)
		}
		switch {
		case size > maxFormBytes:
			f.err = errFormTooBig
		case pairs > maxFormPairs && f.err == nil:
			f.err = errFormTooManyFields
		}
		if err == io.EOF || size >= maxBodyBytes || pairs > maxFormBytes {
			return f
		}
		if err != nil {
			f.err = errFormIncomplete
			return f
		}
	}
}

// isFormType reports whether the header is that of a plain browser form in UTF-8.
func isFormType(h http.Header) bool {
	types := h.Values("Content-Type")
	if len(types) != 1 || h.Get("Content-Encoding") != "" {
		return false
	}
	kind, params, err := mime.ParseMediaType(types[0])
	charset, given := params["charset"]
	return err == nil && kind == "application/x-www-form-urlencoded" && (!given || strings.EqualFold(charset, "utf-8"))
}

// formPair is one name=value pair of a form, still percent-encoded.
type formPair struct {
	name, value string
	truncated   bool // the value was longer than maxRawValue and is cut off
	size        int  // bytes read, including the ampersand
}

// readPair reads up to the next ampersand or the end, and keeps the beginning of anything
// too long. The error is io.EOF after the last pair.
func readPair(body *bufio.Reader) (p formPair, err error) {
	var name, value []byte
	into, room := &name, maxFieldName+1
	for {
		c, err := body.ReadByte()
		if err != nil {
			p.name, p.value = string(name), string(value)
			return p, err
		}
		p.size++
		switch {
		case c == '&':
			p.name, p.value = string(name), string(value)
			return p, nil
		case c == '=' && into == &name:
			into, room = &value, maxRawValue
		case len(*into) < room:
			*into = append(*into, c)
		case into == &value:
			p.truncated = true
		}
	}
}

// addPair sets a field from a pair, if it is a known field.
func (f *form) addPair(p formPair, limits map[string]int, seen map[string]bool) {
	name, ok := decodePercent(p.name)
	limit, known := limits[name]
	if !ok || !known {
		return
	}
	if seen[name] {
		f.addProblem(name, "This field arrived twice. Please send it once.")
		f.malformed = true
		return
	}
	seen[name] = true
	raw := p.value
	if p.truncated {
		raw = trimPartialEscape(raw)
	}
	value, ok := decodePercent(raw)
	if p.truncated { // the cut may be inside a character
		value = strings.TrimRightFunc(value, func(r rune) bool { return r == utf8.RuneError })
	}
	value, clean := normaliseLine(value)
	if !ok || !clean {
		f.addProblem(name, "This contained characters that are not text. They were removed: please check it.")
		f.malformed = true
	}
	if short := truncate(value, limit); p.truncated || short != value {
		f.addProblem(name, tooLongText(utf8.RuneCountInString(short)))
		value = strings.TrimSpace(short)
	}
	f.values[name] = value
}

// trimPartialEscape removes an escape that has lost its end.
func trimPartialEscape(s string) string {
	if i := strings.LastIndexByte(s, '%'); i >= 0 && i > len(s)-3 {
		return s[:i]
	}
	return s
}

// decodePercent decodes a form's percent-encoding. ok is false if there was a percent sign
// without two hexadecimal digits; it stays as it is.
func decodePercent(s string) (out string, ok bool) {
	text, rest, found := strings.Cut(strings.ReplaceAll(s, "+", " "), "%")
	b, ok := []byte(text), true
	for found {
		text, rest, found = strings.Cut(rest, "%")
		code, err := hex.DecodeString(text[:min(2, len(text))])
		if isEscape := err == nil && len(code) == 1; isEscape {
			b, text = append(b, code...), text[2:]
		} else {
			b, ok = append(b, '%'), false
		}
		b = append(b, text...)
	}
	return string(b), ok
}

// normaliseLine makes one line of text: in NFC, so that a name typed on two keyboards is one
// name, with runs of spaces and tabs as one space. ok is false if something that is not text
// was removed: bytes that are not UTF-8, control characters, line breaks (which a browser's
// one-line field never sends), and marks that change the direction of other text. The
// joiners and direction marks that Persian, Hindi or Hebrew need stay.
func normaliseLine(s string) (line string, ok bool) {
	ok = utf8.ValidString(s)
	s = norm.NFC.String(strings.ToValidUTF8(s, ""))
	var b strings.Builder
	blank := false
	for _, r := range s {
		switch {
		case r == '\t' || unicode.IsSpace(r) && !unicode.IsControl(r):
			blank = true
			continue
		case unicode.IsControl(r) || isDirectionMark(r) || r == utf8.RuneError || r == '\uFEFF':
			ok = false
			continue
		}
		if blank && b.Len() > 0 {
			b.WriteByte(' ')
		}
		blank = false
		b.WriteRune(r)
	}
	// A removed character may have stood between two that now compose.
	return norm.NFC.String(b.String()), ok
}

// isDirectionMark reports whether r is an embedding, an override or an isolate (UAX #9).
func isDirectionMark(r rune) bool {
	return r >= '\u202A' && r <= '\u202E' || r >= '\u2066' && r <= '\u2069'
}

// truncate returns the beginning of s: as many whole characters as fit into most bytes.
func truncate(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// tooLongText explains that a text was cut. Limits are in bytes, because bytes are what
// a board stores, so the number of characters depends on the script.
func tooLongText(characters int) string {
	return "This was too long: only its first " + strconv.Itoa(characters) + " characters fit here. Please check it."
}
