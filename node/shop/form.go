package shop

import (
	"bufio"
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

// Bounds on a posted form, in bytes as they come in unless it says otherwise.
const (
	maxFormBytes   = 64 << 10 // of a whole form that is taken
	maxBodyBytes   = 4 << 20  // read of a longer one, so that the fields behind a huge one are not lost
	maxFormPairs   = 50       // name=value pairs of a form that is taken
	maxFieldName   = 32       // of a field's name
	maxRawValue    = 4 << 10  // kept of one value: any value that is short enough is, percent signs and all
	maxHiddenValue = 64       // of a field that the page itself fills in
)

// Kinds of trouble with a form as a whole. What is wrong with one field is a fault.
var (
	errFormType          = errors.New("the form is not of a type that a browser sends for this page")
	errFormTooBig        = errors.New("the form is too big")
	errFormTooManyFields = errors.New("the form has too many fields")
	errFormIncomplete    = errors.New("the form did not arrive in one piece")
)

// fieldProblem is what is wrong with one field, in words for the person who filled it in.
type fieldProblem struct {
	Field   string // its name
	Problem string
}

// Label is what the page calls the field, "" if it shows no such field.
func (x fieldProblem) Label() string {
	switch x.Field {
	case "country":
		return "Country"
	case "quantity":
		return "How many"
	}
	for _, e := range personFields() {
		if e.Name == x.Field {
			return e.Label
		}
	}
	return ""
}

// form is a posted form: what could be read of it, also if it is refused, because what a
// person typed is shown again.
type form struct {
	values    map[string]string // by name; valid UTF-8, NFC, one line, trimmed, within the field's limit
	problems  []fieldProblem    // at most one a field
	malformed bool              // some fault is in the bytes, and not in what they say
	err       error             // one of the kinds above, or nil
}

// get is a field's value, "" if it was not sent.
func (f *form) get(name string) string { return f.values[name] }

// addProblem notes what is wrong with a field. The first complaint about it stands.
func (f *form) addProblem(name, text string) {
	if f.problemWith(name) == "" {
		f.problems = append(f.problems, fieldProblem{name, text})
	}
}

// problemWith is what is wrong with a field, "" if nothing is.
func (f *form) problemWith(name string) string {
	for _, x := range f.problems {
		if x.Field == name {
			return x.Problem
		}
	}
	return ""
}

// statusCode is the status of the reply to a form that cannot be taken as it is; 0 for one
// without a complaint so far.
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

// readForm reads a request's form. limits names the fields that there are, and the most
// bytes in UTF-8 that each takes; all others are passed over unread. It is not
// Request.ParseForm because that keeps nothing of a form that is too long, takes two
// fields of one name, and reads a query along with the body.
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
		if p.size > 1 || err == nil { // more than the end of the body
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

// isFormType reports whether the header is of a plain browser form in UTF-8.
func isFormType(h http.Header) bool {
	types := h.Values("Content-Type")
	if len(types) != 1 || h.Get("Content-Encoding") != "" {
		return false
	}
	kind, params, err := mime.ParseMediaType(types[0])
	charset, said := params["charset"]
	return err == nil && kind == "application/x-www-form-urlencoded" && (!said || strings.EqualFold(charset, "utf-8"))
}

// formPair is one name=value of a form, still in its percent signs.
type formPair struct {
	name, value string
	truncated   bool // the value was longer than maxRaw, and is cut off
	size        int  // bytes read, with the ampersand
}

// readPair reads up to the next ampersand or the end. Of what is too long it keeps the
// beginning. The error is io.EOF after the last pair.
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

// addPair enters a pair, if it is a field that there is.
func (f *form) addPair(p formPair, limits map[string]int, seen map[string]bool) {
	name, ok := decodePercent(p.name)
	most, known := limits[name]
	if !ok || !known {
		return
	}
	if seen[name] {
		f.addProblem(name, "This came twice in one form. Please say it once.")
		f.malformed = true
		return
	}
	seen[name] = true
	raw := p.value
	if p.truncated {
		raw = trimPartialEscape(raw)
	}
	value, ok := decodePercent(raw)
	if p.truncated { // the end may have fallen into a character
		value = strings.TrimRightFunc(value, func(r rune) bool { return r == utf8.RuneError })
	}
	value, fine := normaliseLine(value)
	if !ok || !fine {
		f.addProblem(name, "There were characters in this that are not text. They were left out: please look it over.")
		f.malformed = true
	}
	if short := truncate(value, most); p.truncated || short != value {
		f.addProblem(name, tooLongText(utf8.RuneCountInString(short)))
		value = strings.TrimSpace(short)
	}
	f.values[name] = value
}

// trimPartialEscape cuts off an escape that lost its end.
func trimPartialEscape(s string) string {
	if i := strings.LastIndexByte(s, '%'); i >= 0 && i > len(s)-3 {
		return s[:i]
	}
	return s
}

// decodePercent undoes the percent signs of a form. ok is false if there was a percent sign
// without two hexadecimal digits, which then stands for itself.
func decodePercent(s string) (out string, ok bool) {
	ok = true
	if !strings.ContainsAny(s, "%+") {
		return s, ok
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b = append(b, ' ')
		case s[i] != '%':
			b = append(b, s[i])
		case i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b = append(b, hexValue(s[i+1])<<4|hexValue(s[i+2]))
			i += 2
		default:
			b = append(b, '%')
			ok = false
		}
	}
	return string(b), ok
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// normaliseLine makes one line of text out of what was posted: NFC, so that one name typed on two
// keyboards is one name; runs of blanks, tabs among them, to one space. ok is false if
// something had to be left out that is no text: bytes that are not UTF-8, control
// characters, line breaks, which no one-line field of a browser sends, and the marks that
// turn the direction of other text around. The joiners and direction marks that Persian,
// Hindi or Hebrew need stay.
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
	// What was left out may have stood between two characters that now compose.
	return norm.NFC.String(b.String()), ok
}

// isDirectionMark reports whether r is an embedding, an override or an isolate of UAX #9.
func isDirectionMark(r rune) bool {
	return r >= '\u202A' && r <= '\u202E' || r >= '\u2066' && r <= '\u2069'
}

// truncate is the beginning of s, as many whole characters as fit into a number of bytes.
func truncate(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// tooLongText says how much of a text was kept. The limit is in bytes, because that is what
// a board has to store, so the number of characters depends on the script.
func tooLongText(characters int) string {
	return "This was too long: only its first " + strconv.Itoa(characters) + " characters fit here. Please look it over."
}
