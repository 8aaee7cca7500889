package images

import (
	"iter"
	"strings"
)

// parseParagraphs reads Debian's control format: fields "Name: value", continuation
// lines that begin with a space, and an empty line after each paragraph. The lines of a
// value are joined by newlines; anything else is skipped.
func parseParagraphs(text string) iter.Seq[map[string]string] {
	return func(yield func(map[string]string) bool) {
		p, last := map[string]string{}, ""
		for line := range strings.Lines(text) {
			line = strings.TrimRight(line, "\r\n")
			switch {
			case strings.TrimSpace(line) == "":
				if len(p) > 0 && !yield(p) {
					return
				}
				p, last = map[string]string{}, ""
			case line[0] == '#':
			case line[0] == ' ' || line[0] == '\t':
				if last != "" {
					p[last] += "\n" + strings.TrimSpace(line)
				}
			default:
				name, value, found := strings.Cut(line, ":")
				if last = ""; found {
					last = name
					p[name] = strings.TrimSpace(value)
				}
			}
		}
		if len(p) > 0 {
			yield(p)
		}
	}
}
