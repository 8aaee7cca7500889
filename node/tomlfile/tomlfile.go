// Package tomlfile holds the shared parts of the parsers of a board's TOML files. Index
// finds the line of each key, so that a mistake can be reported with its line, and
// Explain returns a remedy for a line that is not TOML.
package tomlfile

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Lines maps the path of each key and table to its line, counted from 1. A path
// has an index for each element of an array: "product.1.price". A path in
// capitals is there in lower case too, because the decoder ignores case.
type Lines map[string]int

// Index reads the lines of a document. For a document that is not valid TOML it
// returns the lines before the mistake.
func Index(text []byte) Lines {
	x := Lines{}
	var p unstable.Parser
	p.Reset(text)
	elements := map[string]int{} // of each array of tables so far
	table := ""
	lineAt := lineCounter(text)
	for p.NextExpression() {
		node := p.Expression()
		switch node.Kind {
		case unstable.Table, unstable.ArrayTable:
			line := 0
			table, line = x.addHeader(elements, node, lineAt)
			if node.Kind == unstable.ArrayTable {
				elements[table]++
				table = Join(table, strconv.Itoa(elements[table]-1))
				x.add(table, line)
			}
		case unstable.KeyValue:
			x.addPair(table, node, lineAt)
		}
	}
	return x
}

// At returns the line of a path, 0 if the document does not have it.
func (l Lines) At(path string) int { return l[path] }

// Nearest returns the line of a path or, if that is missing, of the table that it
// is missing from; 1 if that is missing too.
func (l Lines) Nearest(path string) int {
	for path != "" {
		if line, ok := l[path]; ok {
			return line
		}
		path = path[:max(0, strings.LastIndexByte(path, '.'))]
	}
	return 1
}

// Join appends a key to a path.
func Join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// addHeader adds a table's header and returns its path. On the way it steps into
// the last element of each array of tables, as TOML does.
func (l Lines) addHeader(elements map[string]int, node *unstable.Node, lineAt func(int) int) (table string, line int) {
	for keys := node.Key(); keys.Next(); {
		table = Join(table, string(keys.Node().Data))
		line = lineAt(int(keys.Node().Raw.Offset))
		l.add(table, line)
		if n := elements[table]; n > 0 && !keys.IsLast() {
			table = Join(table, strconv.Itoa(n-1))
		}
	}
	return table, line
}

// addPair adds a key and everything nested in its value.
func (l Lines) addPair(table string, node *unstable.Node, lineAt func(int) int) {
	path, line := table, 0
	for keys := node.Key(); keys.Next(); {
		path = Join(path, string(keys.Node().Data))
		line = lineAt(int(keys.Node().Raw.Offset))
		l.add(path, line)
	}
	l.addValue(path, line, node.Value(), lineAt)
}

func (l Lines) addValue(path string, line int, node *unstable.Node, lineAt func(int) int) {
	switch node.Kind {
	case unstable.InlineTable:
		for pairs := node.Children(); pairs.Next(); {
			l.addPair(path, pairs.Node(), lineAt)
		}
	case unstable.Array:
		for i, elements := 0, node.Children(); elements.Next(); i++ {
			element := elements.Node()
			if element.Raw.Length > 0 {
				line = lineAt(int(element.Raw.Offset))
			}
			at := Join(path, strconv.Itoa(i))
			l.add(at, line)
			l.addValue(at, line, element, lineAt)
		}
	}
}

// add notes the first line of a path.
func (l Lines) add(path string, line int) {
	for _, p := range []string{path, strings.ToLower(path)} {
		if _, ok := l[p]; !ok {
			l[p] = line
		}
	}
}

// lineCounter returns a function from an offset to its line. Offsets rise except
// within dotted keys, so it counts on from the last one where it can.
func lineCounter(text []byte) func(offset int) int {
	from, line := 0, 1
	return func(offset int) int {
		if offset < from {
			from, line = 0, 1
		}
		offset = min(offset, len(text))
		line += bytes.Count(text[from:offset], []byte{'\n'})
		from = offset
		return line
	}
}

// SyntaxError is a decoder's error with its place and a remedy.
type SyntaxError struct {
	Line, Column int    // counted from 1; 0 if unknown
	Key          string // the key that the line sets, "" if it sets none
	Remedy       string // "" if none is known
	Message      string // the decoder's own message
}

// Explain finds the place of a decoder's error, and a remedy if it knows one.
func Explain(text []byte, err error) SyntaxError {
	e := SyntaxError{Message: strings.TrimPrefix(err.Error(), "toml: ")}
	if at, ok := errors.AsType[*toml.DecodeError](err); ok {
		e.Line, e.Column = at.Position()
	}
	line := ""
	if all := bytes.Split(text, []byte{'\n'}); e.Line > 0 && e.Line <= len(all) {
		line = strings.TrimRight(string(all[e.Line-1]), "\r")
	}
	key, value, ok := splitAssignment(line)
	if ok {
		e.Key = key
	}
	if e.Remedy = remedyByMessage(e.Message); e.Remedy == "" && ok {
		e.Remedy = remedyByValue(value)
	}
	return e
}

func remedyByMessage(message string) string {
	for _, known := range []struct{ part, remedy string }{
		{"is already defined", "it is there twice; remove one of the lines"},
		{"already exists", "the table is there twice; put all its keys under one"},
		{"UTF-8", "a character is not UTF-8; save the file as UTF-8 in your editor"},
		{"to close table name", "a table's name needs both brackets, such as [name]"},
		{"expected '=' after key", `write a table such as [name], or a key and its value, such as name = "text"`},
		{"cannot have new lines", `the text's closing quote is missing; write "…" on one line`},
		{"invalid escape", `write a backslash in a text twice, \\`},
		{"array is incomplete", "the list's closing bracket is missing; write […]"},
		{"after array value", "write a comma between two values of a list"},
		{"too large", "write a smaller number"},
		{"leading zero", "write the number without a leading zero"},
	} {
		if strings.Contains(message, known.part) {
			return known.remedy
		}
	}
	return ""
}

// remedyByValue returns the remedy for a value that the decoder refuses.
func remedyByValue(value string) string {
	switch word := strings.ToLower(value); {
	case value == "" || strings.HasPrefix(value, "#"):
		return "its value is missing"
	case word == "true" || word == "false":
		return "write true or false in small letters"
	case word == "yes" || word == "no" || word == "on" || word == "off":
		return "write true or false"
	case strings.ContainsAny(value, "“”„‘’"):
		return `write straight quotes, "…"`
	case !strings.HasPrefix(value, `"`) && !strings.HasPrefix(value, `'`) && !strings.HasPrefix(value, "["):
		return `a value that is not a number needs quotes, "…"`
	}
	return ""
}

// splitAssignment splits a line that sets a key; ok is false for any other.
func splitAssignment(line string) (key, value string, ok bool) {
	key, value, ok = strings.Cut(line, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	return key, value, ok && key != "" && !strings.ContainsAny(key, "[]#\"' \t")
}
