package orders

import (
	"crypto/sha256"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// normalEmail1 returns the form of an e-mail address by which the book identifies a person:
//
//   - Unicode's compatibility form NFKC, case-folded and trimmed. The local part is
//     case-sensitive by the RFC and nowhere in practice.
//   - Without a "+tag" at the end of the local part, at any domain: nearly every provider
//     delivers name+anything to name, and otherwise a "+1" would be enough to evade the
//     limit per person. A mailbox that really has a plus in its name shares the limit with
//     the name before the plus.
//   - At gmail.com, also known as googlemail.com, without dots in the local part: Google
//     ignores them.
//
// It never changes: see rules.go.
func normalEmail1(email string) string {
	local, domain, _ := strings.Cut(foldCase(strings.TrimSpace(email)), "@")
	if tag := strings.IndexByte(local, '+'); tag > 0 {
		local = local[:tag]
	}
	if domain == "GMAIL.COM" || domain == "GOOGLEMAIL.COM" {
		local, domain = strings.ReplaceAll(local, ".", ""), "GMAIL.COM"
	}
	return local + "@" + domain
}

// mailboxText returns an e-mail address as mail servers tell mailboxes apart: only its domain's case does not matter.
// Mails, their limits, and what a mailed link proves go by it, because name+tag, or an unusual letter, may be a mailbox of another person.
func mailboxText(email string) string {
	local, domain, _ := strings.Cut(email, "@")
	return local + "@" + strings.ToLower(domain)
}

// NormalEmail returns the form of an e-mail address by which the book identifies a person, under the newest rules.
func NormalEmail(email string) string {
	r := rulesOf(MaxRules)
	return r.normalEmail(email)
}

// Street returns a person's address without what tells one house in a street from another: words with a digit or of
// one letter. Two addresses that the limit takes for one have the same street.
func (p *Person) Street() string {
	place := *p
	place.Line1, place.Line2 = "", ""
	street := string(addressText1(&place))
	for word := range strings.FieldsSeq(string(appendWords(appendWords(nil, p.Line1), p.Line2))) {
		if utf8.RuneCountInString(word) > 1 && !strings.ContainsFunc(word, unicode.IsNumber) {
			street += " " + word
		}
	}
	return street
}

// foldCase converts text to NFKC and replaces each letter by the first of those that differ
// from it only by case (for ASCII: the capital).
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
	// Folding can create a pair that NFKC composes.
	return norm.NFKC.String(folded)
}

// appendWords appends the letters, marks and digits of s, folded, with one blank between runs
// of them: "12 High St." and "12  high st" give the same text.
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

// appendJoined appends the letters, marks and digits of s, folded, without blanks, as for a
// postcode.
func appendJoined(to []byte, s string) []byte {
	for _, c := range foldCase(s) {
		if unicode.IsLetter(c) || unicode.IsMark(c) || unicode.IsNumber(c) {
			to = append(to, string(c)...)
		}
	}
	return to
}

// fingerprint is the first 128 bits of a SHA-256: enough that nobody finds two texts with the
// same one, which would show one person another's receipt.
type fingerprint [16]byte

func fingerprintOf(data []byte) fingerprint {
	sum := sha256.Sum256(data)
	return fingerprint(sum[:16])
}

// addressText1 returns the text for the limit by address: country, postcode and lines.
// The split of the lines does not matter; the city matters only without a postcode.
// Abbreviations are not understood: "Street" and "St" differ. It never changes: see rules.go.
func addressText1(p *Person) []byte {
	text := make([]byte, 0, 128)
	text = append(text, p.Country...)
	text = append(appendJoined(append(text, 0), p.Postcode), 0)
	text = appendWords(text, p.Line1)
	text = appendWords(text, p.Line2)
	if p.Postcode == "" {
		text = appendWords(append(text, 0), p.City)
	}
	return text
}

// personText1 returns the text of name and address: two forms with the same one were
// filled in alike. It never changes: see rules.go.
func personText1(p *Person) []byte {
	text := make([]byte, 0, 160)
	text = append(appendWords(text, p.Name), 0)
	text = append(text, p.Country...)
	text = append(appendJoined(append(text, 0), p.Postcode), 0)
	text = appendWords(text, p.Line1)
	text = appendWords(text, p.Line2)
	text = appendWords(append(text, 0), p.City)
	return text
}
