package tomlfile

import (
	"bytes"
	"errors"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

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
