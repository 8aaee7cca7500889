package gpio

import (
	"fmt"
	"strings"
	"time"
)

// shades are a timeline's characters, from Off to Full in equal parts.
const shades = "_░▒▓█"

// maxCells bounds the length of one timeline.
const maxCells = 10_000

// Timeline draws the pattern over the time d as text, one character per cell:
// "████____████____" is a slow blink at cells of 125 ms. A cell has the level of its
// middle. It is "" if d or cell is not positive.
func (p Pattern) Timeline(d, cell time.Duration) string {
	if cell <= 0 || d <= 0 {
		return ""
	}
	marks := []rune(shades)
	var b strings.Builder
	for i := range min(int64(d/cell), maxCells) {
		level := int(p.At(time.Duration(i)*cell + cell/2))
		b.WriteRune(marks[(level*(len(marks)-1)+int(Full)/2)/int(Full)])
	}
	return b.String()
}

// Timeline draws the panel over the time d as text: a line for each lamp, and the
// summary last.
func (s Show) Timeline(d, cell time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "health %s  %s\n", s.Health.Timeline(d, cell), s.Health.Name)
	for i, p := range s.Bar {
		fmt.Fprintf(&b, "bar %-2d %s  %s\n", i+1, p.Timeline(d, cell), p.Name)
	}
	fmt.Fprintf(&b, "summary %s\n", s.Summary)
	return b.String()
}
