package cluster

import (
	"fmt"
	"strings"
	"testing"
)

func TestRingMembers(t *testing.T) {
	for _, c := range []struct {
		name, boards, want string
	}{
		{"only serving boards own", "a:serving:100 b:draining:100 c:drained:100 d:joining:100 e:serving:50", "a:100 b:0 c:0 d:0 e:50"},
		{"the dead are not there", "a:serving:100 b:dead:100", "a:100"},
		{"all start", "a:starting:100 b:starting:100", "a:100 b:100"},
		{"joining before starting", "a:starting:100 b:joining:100", "a:0 b:100"},
		{"draining before drained", "a:draining:100 b:drained:100 c:stopping:100", "a:100 b:0 c:0"},
		{"the last one stops", "a:stopping:70", "a:70"},
		{"nobody has weight", "a:serving:0 b:serving:0 c:draining:0", "a:100 b:100 c:0"},
		{"some have none", "a:serving:0 b:serving:100", "a:0 b:100"},
		{"nobody", "", ""},
	} {
		var boards []Board
		for _, text := range strings.Fields(c.boards) {
			part := strings.Split(text, ":")
			b := Board{Name: part[0], Alive: part[1] != "dead"}
			fmt.Sscan(part[2], &b.Meta.Weight)
			for s := range Stopping + 1 {
				if s.String() == part[1] {
					b.Meta.Vitals.State = s
				}
			}
			boards = append([]Board{b}, boards...) // the order must not matter
		}
		var got []string
		for _, m := range ringMembers(boards) {
			got = append(got, fmt.Sprintf("%s:%d", m.Name, m.Weight))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
	}
}
