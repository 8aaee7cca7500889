package gpio

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestWallCard: every scene and press is on the card, and nothing on it needs a
// colour or another file.
func TestWallCard(t *testing.T) {
	card, err := WallCard(DefaultLamps)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range Scenes() {
		if !bytes.Contains(card, []byte("<th>"+s.Name+"</th>")) {
			t.Errorf("%q is not on the card", s.Name)
		}
	}
	for _, r := range ButtonRules() {
		if !bytes.Contains(card, []byte(r.How)) {
			t.Errorf("%q is not on the card", r.How)
		}
	}
	for _, hostile := range []string{"http", "<script", "<img", "<link", "ZgotmplZ"} {
		if bytes.Contains(card, []byte(hostile)) {
			t.Errorf("the card has %q in it", hostile)
		}
	}
	for _, lamps := range []int{-1, 0, 1, 8, 1000} {
		if _, err := WallCard(lamps); err != nil {
			t.Errorf("%d lamps: %v", lamps, err)
		}
	}
	if to := os.Getenv("WALLCARD"); to != "" { // for people
		if err := os.WriteFile(to, card, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWallCardDraws: a fault's drawing has as many short blocks as it has
// flashes, and a bar's steady lamp is one block as long as the drawing.
func TestWallCardDraws(t *testing.T) {
	for _, s := range Scenes() {
		line := drawScene(s, 5)
		if f := s.At(0, 0).Faults.List(); !s.OnBar && len(f) == 1 && s.At(0, 0).Acknowledged == 0 {
			flashes := 0
			period := int(Render(s.At(0, 0), 0).Health.Period().Milliseconds() / beat)
			for _, b := range line.Blocks {
				if x, err := strconv.Atoi(b.X); err == nil && x < period && b.W == "2" {
					flashes++
				}
			}
			if flashes != int(f[0]) {
				t.Errorf("%s is drawn with %d flashes", s.Name, flashes)
			}
		}
		if s.Name == "leader" && (line.Blocks[0].W != "120" || !strings.HasPrefix(line.Blocks[0].Y, "16.")) {
			t.Errorf("the leader's first lamp is drawn as %+v", line.Blocks[0])
		}
	}
}
