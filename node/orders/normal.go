package orders

import (
	"crypto/sha256"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// NormalEmail is the form of an address under which a person is known to the book:
//
//   - Unicode's compatibility form NFKC, without regard to case, blanks around it cut
//     off. The local part is case-sensitive by the RFC and nowhere in practice.
//   - Without a "+tag" at the end of the local part, at any domain: nearly every provider
//     delivers name+anything to name, and the limit per person would otherwise be worth
//     one "+1". Who really has a mailbox with a plus in its name shares the limit with the
//     name before the plus.
//   - At gmail.com, also known as googlemail.com, without dots in the local part, which
//     Google ignores.
//
// It is for comparing only: mail goes to the address as it was typed.
func NormalEmail(email string) string {
	local, domain, _ := strings.Cut(foldCase(strings.TrimSpace(email)), "@")
	if tag := strings.IndexByte(local, '+'); tag > 0 {
		local = local[:tag]
	}
	if domain == "GMAIL.COM" || domain == "GOOGLEMAIL.COM" {
		local, domain = strings.ReplaceAll(local, ".", ""), "GMAIL.COM"
	}
	return local + "@" + domain
}

// foldCase brings text to NFKC and takes each letter for the first of those that differ from
// it by case only (for ASCII: the capital).
func foldCase(s string) string {
	if isPrintableASCII(s) {
		return strings.ToUpper(s)
	}
	folded := strings.Map(func(c rune) rune {
		least := c
		for o := unicode.SimpleFold(c); o != c; o = unicode.SimpleFold(o) {
			least = min(least, o)
		}
		return least
	}, norm.NFKC.String(s))
	// Folding can make a pair that NFKC would compose.
	return norm.NFKC.String(folded)
}

// appendWords appends the letters, marks and digits of s, folded, with one blank between runs
// of them: "12 High St." and "12  high st" are the same.
func appendWords(to []byte, s string) []byte {
	gap := len(to) > 0
	for _, c := range foldCase(s) {
		if !unicode.IsLetter(c) && !unicode.IsMark(c) && !unicode.IsNumber(c) {
			gap = len(to) > 0
			continue
		}
		if gap {
			to = append(to, ' ')
			gap = false
		}
		to = append(to, string(c)...)
	}
	return to
}

// appendJoined appends the letters, marks and digits of s, folded, without blanks: a postcode.
func appendJoined(to []byte, s string) []byte {
	for _, c := range foldCase(s) {
		if unicode.IsLetter(c) || unicode.IsMark(c) || unicode.IsNumber(c) {
			to = append(to, string(c)...)
		}
	}
	return to
}

// fingerprint is the first 128 bits of a SHA-256: enough that nobody finds two texts with the
// same one, which would show a stranger's receipt as one's own.
type fingerprint [16]byte

func fingerprintOf(data []byte) fingerprint {
	sum := sha256.Sum256(data)
	return fingerprint(sum[:16])
}

// emailPrint is what a person's papers are found by.
func emailPrint(email string) fingerprint { return fingerprintOf([]byte(NormalEmail(email))) }

// addressPrint is what the limit by address counts by: country, postcode and lines. How
// the lines are split does not count, nor how the city is spelt, unless there is no
// postcode to stand for it. Abbreviations are not understood: "Street" and "St" differ.
func addressPrint(p *Person) fingerprint {
	text := make([]byte, 0, 128)
	text = append(text, p.Country...)
	text = append(appendJoined(append(text, 0), p.Postcode), 0)
	text = appendWords(text, p.Line1)
	text = appendWords(text, p.Line2)
	if p.Postcode == "" {
		text = appendWords(append(text, 0), p.City)
	}
	return fingerprintOf(text)
}

// personPrint is what tells whether the same person filled in the same form again: name
// and address.
func personPrint(p *Person) fingerprint {
	text := make([]byte, 0, 160)
	text = append(appendWords(text, p.Name), 0)
	text = append(text, p.Country...)
	text = append(appendJoined(append(text, 0), p.Postcode), 0)
	text = appendWords(text, p.Line1)
	text = appendWords(text, p.Line2)
	text = appendWords(append(text, 0), p.City)
	return fingerprintOf(text)
}
