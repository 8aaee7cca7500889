package cache

import (
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Limits on the purge tags of one reply. More and longer tags are ignored.
const (
	maxTags   = 64
	maxTagLen = 128
)

// packTags reads the tags of Surrogate-Key (separated by blanks) and Cache-Tag
// (separated by commas), each once.
func packTags(h http.Header) string {
	var b strings.Builder
	n := 0
	add := func(tag string) {
		if n == maxTags || !validTag(tag) || hasTag(b.String(), tag) {
			return
		}
		n++
		b.WriteString(tag)
		b.WriteByte(0)
	}
	for _, line := range h["Surrogate-Key"] {
		for tag := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == ' ' || r == '\t' }) {
			add(tag)
		}
	}
	for _, line := range h["Cache-Tag"] {
		for tag := range strings.SplitSeq(line, ",") {
			add(trimOWS(tag))
		}
	}
	return b.String()
}

// hasTag reports whether packed tags contain a tag.
func hasTag(packed, tag string) bool {
	for packed != "" {
		var t string
		t, packed, _ = strings.Cut(packed, "\x00")
		if t == tag {
			return true
		}
	}
	return false
}

func validTag(tag string) bool {
	return tag != "" && len(tag) <= maxTagLen && httpguts.ValidHeaderFieldValue(tag)
}

// validTags checks packed tags that another board has sent.
func validTags(packed string) bool {
	n := 0
	for packed != "" {
		tag, rest, ok := strings.Cut(packed, "\x00")
		if n++; !ok || !validTag(tag) || n > maxTags {
			return false
		}
		packed = rest
	}
	return true
}
