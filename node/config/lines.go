package config

import (
	"bytes"
	"fmt"

	"github.com/pelletier/go-toml/v2/unstable"
)

// lines knows in which line of a file each key stands. The decoder tells a
// position only of what it refuses itself; this is for the rest.
type lines map[[2]string]int

// of returns the line of a key, or of a table if key is "", or 0.
func (l lines) of(table, key string) int { return l[[2]string{table, key}] }

// note keeps the first line of a path. A deeper path counts as its second
// step, which is as deep as settings go, but for those of one card.
func (l lines) note(path []string, line int) {
	if folded := fold(path); len(folded) < len(path) {
		l.note(folded, line)
	}
	for depth := 1; depth <= min(len(path), 2); depth++ {
		at := [2]string{path[0]}
		if depth == 2 {
			at[1] = path[1]
		}
		if _, ok := l[at]; !ok {
			l[at] = line
		}
	}
}

// index reads a file that is known to be valid TOML.
func index(data []byte) lines {
	found := lines{}
	var p unstable.Parser
	p.Reset(data)
	line, seen := 1, 0
	lineOf := func(key unstable.Iterator) int {
		if !key.Next() {
			return line
		}
		// Keys come in the order of the file, so each byte is counted once.
		if at := int(key.Node().Raw.Offset); at > seen && at <= len(data) {
			line += bytes.Count(data[seen:at], []byte{'\n'})
			seen = at
		}
		return line
	}
	var table []string
	count := map[string]int{} // of each [[table]] so far
	for p.NextExpression() {
		node := p.Expression()
		switch node.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = steps(nil, node.Key())
			line := lineOf(node.Key())
			found.note(table, line)
			if node.Kind == unstable.ArrayTable && len(table) == 1 {
				name := table[0]
				table = []string{nth(name, count[name])}
				count[name]++
				found.note(table, line)
			}
		case unstable.KeyValue:
			path := steps(table, node.Key())
			found.note(path, lineOf(node.Key()))
			if value := node.Value(); value.Kind == unstable.InlineTable {
				for children := value.Children(); children.Next(); {
					inner := children.Node()
					found.note(steps(path, inner.Key()), lineOf(inner.Key()))
				}
			}
		}
	}
	return found
}

// nth is how the n-th of several tables of one name is called here, n from 0.
func nth(table string, n int) string { return fmt.Sprintf("[%s]%d", table, n) }

// steps appends the parts of a dotted key to a path.
func steps(path []string, key unstable.Iterator) []string {
	path = append([]string(nil), path...)
	for key.Next() {
		path = append(path, string(key.Node().Data))
	}
	return path
}
