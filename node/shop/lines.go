package shop

import (
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// lineIndex knows on which line of a TOML file each key stands, so that a complaint
// about a price names the price's line and not the file's. Its paths carry an index for
// each element of an array: "product.1.price", "product.0.description.1".
type lineIndex map[string]int

// indexLines reads the positions out of a document. A document that is not TOML gives
// what was read of it; the decoder is the one that complains.
func indexLines(text []byte) lineIndex {
	x := make(lineIndex)
	var p unstable.Parser
	p.Reset(text)
	elements := make(map[string]int) // of each array of tables so far
	table := ""
	line := lineCounter(text)
	for p.NextExpression() {
		n := p.Expression()
		switch n.Kind {
		case unstable.Table, unstable.ArrayTable:
			at := 0
			table, at = follow(elements, n)
			if n.Kind == unstable.ArrayTable {
				elements[table]++
				table = join(table, strconv.Itoa(elements[table]-1))
			}
			x.put(table, line(at))
		case unstable.KeyValue:
			x.pair(table, n, line)
		}
	}
	return x
}

// follow turns a table header into a path, stepping into the last element of each array
// of tables on the way, as TOML does, and gives the offset at which the header stands.
func follow(elements map[string]int, n *unstable.Node) (table string, offset int) {
	for keys := n.Key(); keys.Next(); {
		table = join(table, strings.ToLower(string(keys.Node().Data)))
		offset = int(keys.Node().Raw.Offset)
		if count := elements[table]; count > 0 && !keys.IsLast() {
			table = join(table, strconv.Itoa(count-1))
		}
	}
	return table, offset
}

// pair enters a key and what is nested in its value.
func (x lineIndex) pair(table string, n *unstable.Node, line func(int) int) {
	path, at := table, 0
	for keys := n.Key(); keys.Next(); {
		path = join(path, strings.ToLower(string(keys.Node().Data)))
		at = line(int(keys.Node().Raw.Offset))
		x.put(path, at)
	}
	x.value(path, at, n.Value(), line)
}

func (x lineIndex) value(path string, at int, n *unstable.Node, line func(int) int) {
	switch n.Kind {
	case unstable.InlineTable:
		for pairs := n.Children(); pairs.Next(); {
			x.pair(path, pairs.Node(), line)
		}
	case unstable.Array:
		i := 0
		for elements := n.Children(); elements.Next(); i++ {
			e := elements.Node()
			if e.Raw.Length > 0 {
				at = line(int(e.Raw.Offset))
			}
			element := join(path, strconv.Itoa(i))
			x.put(element, at)
			x.value(element, at, e, line)
		}
	}
}

func (x lineIndex) put(path string, line int) {
	if _, ok := x[path]; !ok {
		x[path] = line
	}
}

// line is where a path stands or, if it is missing, the table that it is missing from.
func (x lineIndex) line(path string) int {
	for path != "" {
		if n, ok := x[path]; ok {
			return n
		}
		path = path[:max(0, strings.LastIndexByte(path, '.'))]
	}
	return 1
}

// lineCounter gives the line of an offset. The parser asks in rising order but for
// dotted keys, so it counts on from the last answer where it can.
func lineCounter(text []byte) func(offset int) int {
	from, line := 0, 1
	return func(offset int) int {
		if offset < from {
			from, line = 0, 1
		}
		for ; from < offset && from < len(text); from++ {
			if text[from] == '\n' {
				line++
			}
		}
		return line
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// bare takes the indices out of a path: the key as a person would say it, "product.price".
func bare(path string) string {
	var keys []string
	for key := range strings.SplitSeq(path, ".") {
		if key == "" || !allDigits(key) {
			keys = append(keys, key)
		}
	}
	return strings.Join(keys, ".")
}
