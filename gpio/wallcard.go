package gpio

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"time"
)

//go:embed wallcard.html
var wallCardPage string

// The scale of the wall card's drawings.
const (
	cardHealthBeats = 72 // nine seconds: the longest count
	cardBarBeats    = 120
	cardHeight      = 10 // of a drawing, in its own units; its width is in beats
)

// litBlock is a lamp that is lit for a while, in a drawing whose horizontal unit is a
// beat. Its height stands for brightness: the card is printed in black.
type litBlock struct{ X, Y, W, H string }

// wallCardLine is one line of the wall card.
type wallCardLine struct {
	Name, Meaning string
	Count         int // of flashes, 0 if there is nothing to count
	Beats         int // the drawing's width
	Drawn         int // the part of it that is drawn on: complete periods of the pattern if any fit
	Height        int
	Seconds       []int // where its second marks are
	Blocks        []litBlock
}

// WallCard returns the language of the lamps as one page of HTML, to be printed and
// hung beside the rack. It draws the scenes of the demo by the rule that lights the
// lamps, so that card and lamps cannot disagree. lamps is the length of the bar.
func WallCard(lamps int) ([]byte, error) {
	page, err := template.New("wallcard").Parse(wallCardPage)
	if err != nil {
		return nil, err
	}
	lamps = min(max(lamps, 1), maxBarSteps)
	var data struct {
		States, Faults, ByButton, Bar []wallCardLine
		Button                        []ButtonRule
		Lamps                         int
		Stuck                         string
	}
	data.Button, data.Lamps, data.Stuck = ButtonRules(), lamps, formatSeconds(stuckAfter)
	for _, s := range Scenes() {
		in := s.At(0, 0)
		switch line := drawScene(s, lamps); {
		case s.OnBar:
			data.Bar = append(data.Bar, line)
		case in.Address || in.Acknowledged != 0:
			data.ByButton = append(data.ByButton, line)
		case in.Faults != 0:
			line.Count = int(in.Faults.List()[0])
			data.Faults = append(data.Faults, line)
		default:
			data.States = append(data.States, line)
		}
	}
	var b bytes.Buffer
	err = page.Execute(&b, data)
	return b.Bytes(), err
}

// drawScene draws a scene, a row for each lamp, the first lamp lowest.
func drawScene(s Scene, lamps int) wallCardLine {
	line := wallCardLine{Name: s.Name, Meaning: s.Meaning, Beats: cardHealthBeats, Height: cardHeight}
	rows := 1
	if s.OnBar {
		line.Beats, rows, line.Height = cardBarBeats, lamps, 2*cardHeight
	}
	line.Drawn = line.Beats
	if period := int(Render(s.At(0, 0), 0).Health.Period().Milliseconds() / beat); !s.OnBar && period < line.Beats {
		line.Drawn -= line.Beats % period
	}
	for beats := 8; beats < line.Drawn; beats += 8 {
		line.Seconds = append(line.Seconds, beats)
	}
	row := float64(line.Height) / float64(rows)
	for i := range rows {
		var last Level
		from := 0
		for k := 0; k <= line.Drawn; k++ {
			level := Off
			if k < line.Drawn {
				level = s.lampLevel(i, lamps, time.Duration(k)*beat*time.Millisecond)
			}
			if k > 0 && level == last {
				continue
			}
			if last != Off {
				high := row * 0.8 * float64(last) / float64(Full)
				line.Blocks = append(line.Blocks, litBlock{
					X: fmt.Sprint(from), W: fmt.Sprint(k - from),
					Y: fmt.Sprintf("%.2f", row*(float64(rows-i)-0.1)-high), H: fmt.Sprintf("%.2f", high),
				})
			}
			last, from = level, k
		}
	}
	return line
}

// lampLevel is the level of a lamp of the bar, or of the health lamp unless the scene is
// on the bar, at a time since the scene's beginning.
func (s Scene) lampLevel(lamp, lamps int, since time.Duration) Level {
	if s.OnBar {
		return Render(s.At(0, since), lamps).Bar[lamp].At(since)
	}
	return Render(s.At(0, since), 0).Health.At(since)
}
