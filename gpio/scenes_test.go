package gpio

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// compareGolden compares a text with a file of testdata that is meant to be read.
func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Errorf("the lamps differ from %s:\n%s", path, got)
	}
}

// TestScenesGolden draws every scene as it is played: a beat (125 ms) a character, a
// second eight of them.
func TestScenesGolden(t *testing.T) {
	marks := []rune(shades)
	var b strings.Builder
	for _, scene := range Scenes() {
		fmt.Fprintf(&b, "%s\n", scene.Title())
		lines := make([]strings.Builder, 1+DefaultLamps)
		for since := time.Duration(0); since < scene.Duration; since += beat * time.Millisecond {
			show := Render(scene.At(0, since), DefaultLamps)
			for lamp, p := range append([]Pattern{show.Health}, show.Bar...) {
				level := int(p.At(since))
				lines[lamp].WriteRune(marks[(level*(len(marks)-1)+int(Full)/2)/int(Full)])
			}
		}
		if !scene.OnBar {
			fmt.Fprintf(&b, "  health %s\n\n", lines[0].String())
			continue
		}
		for i := DefaultLamps; i > 0; i-- { // as it stands: the first lamp lowest
			fmt.Fprintf(&b, "  bar %d  %s\n", i, lines[i].String())
		}
		b.WriteString("\n")
	}
	compareGolden(t, "scenes.txt", b.String())
}

// TestScenesAreComplete: every state, fault and press has its scene or line.
func TestScenesAreComplete(t *testing.T) {
	names := map[string]Scene{}
	for _, s := range Scenes() {
		if _, twice := names[s.Name]; twice {
			t.Errorf("%q is there twice", s.Name)
		}
		names[s.Name] = s
	}
	for h := Stopped; h <= Drained; h++ {
		if _, ok := names[h.String()]; !ok {
			t.Errorf("no scene shows %q", h)
		}
	}
	for f := firstFault; f <= lastFault; f++ {
		if s, ok := names[f.String()]; !ok || s.Meaning == "" {
			t.Errorf("no scene shows %q and says what to do", f)
		}
	}
	if FaultCode(77).Advice() != "" {
		t.Error("there is advice for no fault")
	}
	rules := ButtonRules()
	for p := ShortPress; p <= ShutdownPress; p++ {
		if rules[p-1].Press != p {
			t.Errorf("no rule for %v", p)
		}
	}
	if rules[3].How != "hold 3 s, let go" || ButtonPress(99).String() != "unknown press" || NoPress.String() != "none" {
		t.Errorf("rules read %v", rules)
	}
}

func TestTerminal(t *testing.T) {
	var b bytes.Buffer
	term := NewTerminal(&b, 3)
	for lamp, level := range []Level{Full, Full, 100, Off} {
		if err := term.Set(lamp, level); err != nil {
			t.Fatal(err)
		}
	}
	if err := term.Caption("serving"); err != nil || term.Close() != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "\rserving\x1b[K\n\r ●   ● ◐ ○ \x1b[K\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if term.Set(4, Full) == nil || term.Set(-1, Full) == nil {
		t.Error("a lamp that is not there can be set")
	}
	if health, bar := term.Lamps(); !health || bar != 3 || term.Where(0) != "sign 1 from the left" || term.String() != "a terminal with a bar of 3 lamps" {
		t.Errorf("it is %v, %d, %s, %v", health, bar, term.Where(0), term)
	}
	if n := testing.AllocsPerRun(100, func() { b.Reset(); _ = term.Flush() }); n != 0 {
		t.Errorf("%v allocations a line", n)
	}
}

// TestTitlesFit: each title fits on a line of the demo in a terminal of 80 columns.
func TestTitlesFit(t *testing.T) {
	for _, s := range Scenes() {
		if n := utf8.RuneCountInString(s.Title()); n > 79 {
			t.Errorf("%q has %d characters, want at most 79", s.Title(), n)
		}
	}
}
