package config

import (
	"bytes"
	"errors"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// cures tell what to write where the TOML reader stops, by a piece of what it
// says. The first that fits counts; where none does, its own words are told.
var cures = []struct{ says, cure string }{
	{"is already defined", "it is there twice; take one of the lines out"},
	{"already exists", "the table is there twice; put all its keys under one"},
	{"UTF-8", "a character is not UTF-8; have the editor save the file as UTF-8"},
	{"to close table name", "a table's name wants both brackets, such as [rack]"},
	{"expected '=' after key", `write a table such as [rack], or a key and its value, such as expected_boards = 3`},
	{"cannot have new lines", `the text's closing quote is missing; write "…" on one line`},
	{"invalid escape", `a backslash in a text is written twice, \\`},
	{"array is incomplete", "the list's closing bracket is missing; write […]"},
	{"after array value", "write a comma between two values of a list"},
	{"too large", "write a smaller number"},
	{"leading zero", "write the number without a nought in front"},
}

// assignment splits a line that sets a key; ok is false for any other.
func assignment(line string) (key, value string, ok bool) {
	key, value, ok = strings.Cut(line, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	return key, value, ok && key != "" && !strings.ContainsAny(key, "[]#\"' \t")
}

// addSyntaxError turns what the TOML reader refuses into a mistake with a remedy.
func (r *fileParser) addSyntaxError(data []byte, err error) {
	line, column := 0, 0
	var at *toml.DecodeError
	if errors.As(err, &at) {
		line, column = at.Position()
	}
	text := ""
	if all := bytes.Split(data, []byte{'\n'}); line > 0 && line <= len(all) {
		text = strings.TrimRight(string(all[line-1]), "\r")
	}
	r.addError(ErrSyntax, line, "", "", "not valid TOML: "+cure(strings.TrimPrefix(err.Error(), "toml: "), text))
	r.errors[0].Column = column
}

// cure says what to write instead of a line that is no TOML.
func cure(said, line string) string {
	key, value, ok := assignment(line)
	if key = onOneLine(shorten(key)); !ok {
		key = ""
	}
	named := func(text string) string {
		if key == "" {
			return text
		}
		return key + ": " + text
	}
	for _, c := range cures {
		if strings.Contains(said, c.says) {
			return named(c.cure)
		}
	}
	switch word := strings.ToLower(value); {
	case key == "":
		return onOneLine(shorten(said))
	case value == "" || strings.HasPrefix(value, "#"):
		return named("its value is missing")
	case word == "true" || word == "false":
		return named("write true or false in small letters")
	case word == "yes" || word == "no" || word == "on" || word == "off":
		return named("write true or false")
	case strings.ContainsAny(value, "“”„‘’"):
		return named(`write straight quotes, "…"`)
	case !strings.HasPrefix(value, `"`) && !strings.HasPrefix(value, `'`) && !strings.HasPrefix(value, "["):
		return named(`a value that is no number wants quotes, "…"`)
	}
	return named(onOneLine(shorten(said)))
}
