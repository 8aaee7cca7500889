package gpio

import (
	"fmt"
	"io"
)

// Terminal is a Driver that draws its lamps on one line of a text terminal: a lit lamp
// is a full disk, a dim one half a disk, a dark one a ring.
type Terminal struct {
	w      io.Writer
	levels []Level // the health lamp first
	line   []byte  // reused
}

// NewTerminal returns a driver that draws a bar of the given number of lamps on w.
func NewTerminal(w io.Writer, bar int) *Terminal {
	return &Terminal{w: w, levels: make([]Level, 1+min(max(bar, 0), MaxLamps))}
}

// Caption writes a line of text above the lamps. Earlier captions scroll up.
func (t *Terminal) Caption(text string) error {
	if _, err := io.WriteString(t.w, "\r"+text+"\x1b[K\n"); err != nil {
		return err
	}
	return t.Flush()
}

func (t *Terminal) String() string {
	return fmt.Sprintf("a terminal with a bar of %d lamps", len(t.levels)-1)
}

// Lamps returns a health lamp and the bar.
func (t *Terminal) Lamps() (health bool, bar int) { return true, len(t.levels) - 1 }

// Where returns the lamp's position from the left.
func (t *Terminal) Where(lamp int) string { return fmt.Sprintf("sign %d from the left", lamp+1) }

// Set records a level.
func (t *Terminal) Set(lamp int, level Level) error {
	if lamp < 0 || lamp >= len(t.levels) {
		return fmt.Errorf("terminal: there is no lamp %d", lamp)
	}
	t.levels[lamp] = level
	return nil
}

// Flush draws the line again; ESC [K clears the rest of the line.
func (t *Terminal) Flush() error {
	b := append(t.line[:0], "\r "...)
	for i, l := range t.levels {
		switch {
		case l == Off:
			b = append(b, "○"...)
		case l == Full:
			b = append(b, "●"...)
		default:
			b = append(b, "◐"...)
		}
		if b = append(b, ' '); i == HealthLamp {
			b = append(b, "  "...)
		}
	}
	t.line = append(b, "\x1b[K"...)
	_, err := t.w.Write(t.line)
	return err
}

// Close ends the line.
func (t *Terminal) Close() error {
	_, err := io.WriteString(t.w, "\n")
	return err
}
