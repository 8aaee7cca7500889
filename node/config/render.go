package config

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

const printWidth = 78 // width of the output of "bramble config", in columns

// PrintOptions selects what TOML writes.
type PrintOptions struct {
	Comments bool                         // above each key, its description
	Secrets  bool                         // secrets instead of placeholders
	Only     func(table, key string) bool // nil = every key
}

// TOML returns the configuration as a file that Parse reads, but with placeholders
// for secrets unless Secrets is set.
func (c *Config) TOML(p PrintOptions) []byte {
	var b bytes.Buffer
	for _, t := range tableSpecs() {
		if !t.many {
			p.writeTable(&b, t, "", c, nil)
			continue
		}
		for i := range c.Sites {
			p.writeTable(&b, t, "", c, &c.Sites[i])
		}
		if len(c.Sites) == 0 && p.Comments {
			p.writeTable(&b, t, "# ", c, &SiteSettings{Host: "shop.example", Origin: c.Origin})
		}
	}
	return b.Bytes()
}

// writeTable writes one table, of a site if there is one, with a mark before each line.
func (p PrintOptions) writeTable(b *bytes.Buffer, t tableSpec, mark string, c *Config, site *SiteSettings) {
	head := false
	for _, s := range allKeys() {
		if s.table != t.name || p.Only != nil && !p.Only(s.table, s.key) {
			continue
		}
		if !head {
			if head = true; b.Len() > 0 {
				b.WriteString("\n")
			}
			if p.Comments {
				writeComment(b, t.doc)
			}
			fmt.Fprintf(b, "%s%s\n", mark, t.header())
		}
		if p.Comments {
			b.WriteString("\n")
			writeComment(b, s.doc)
			writeComment(b, "Default: "+defaultLiteral(s))
		}
		fmt.Fprintf(b, "%s%s = %s\n", mark, s.key, tomlLiteral(s.at(c, site), p.Secrets, s.secret))
	}
}

// Reference returns the reference of all keys in Markdown, with a table for each
// table of the file. README.md holds it.
func Reference() string {
	var b strings.Builder
	for i, t := range tableSpecs() {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "**`%s`** %s\n\n", t.header(), t.doc)
		b.WriteString("| Key | Default | Meaning, and why this default |\n|---|---|---|\n")
		for _, s := range allKeys() {
			if s.table == t.name {
				value := defaultLiteral(s)
				if s.defaultText == "" {
					value = "`" + value + "`"
				}
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.key, value, strings.ReplaceAll(s.doc, "|", `\|`))
			}
		}
	}
	return b.String()
}

func defaultLiteral(s keySpec) string {
	if s.defaultText != "" {
		return s.defaultText
	}
	var site *SiteSettings
	if s.table == "site" {
		site = new(SiteSettings)
	}
	return tomlLiteral(s.at(Default(), site), false, s.secret)
}

func tomlLiteral(field any, secrets, secret bool) string {
	switch f := field.(type) {
	case *int:
		return strconv.Itoa(*f)
	case *bool:
		return strconv.FormatBool(*f)
	case *Duration:
		return tomlString(f.String())
	case *Size:
		return tomlString(f.String())
	case *string:
		if secret && !secrets && *f != "" {
			return tomlString("redacted")
		}
		return tomlString(*f)
	case *RackKey:
		return tomlString(keyLiteral(*f, secrets))
	case *[]RackKey:
		words := make([]string, len(*f))
		for i, k := range *f {
			words[i] = keyLiteral(k, secrets)
		}
		return tomlStrings(words)
	case *[]ConsoleAccount:
		var tables []string
		for _, a := range *f {
			tables = append(tables, fmt.Sprintf("{ name = %s, role = %s, password = %s }", tomlString(a.Name), tomlString(a.Role), tomlLiteral(&a.Password, secrets, true)))
		}
		return "[" + strings.Join(tables, ", ") + "]"
	case *[]string:
		return tomlStrings(*f)
	default:
		panic(fmt.Sprintf("config: a setting of type %T", field))
	}
}

func keyLiteral(k RackKey, secrets bool) string {
	if secrets && !k.IsZero() {
		return k.Reveal()
	}
	return k.String()
}

func tomlStrings(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = tomlString(w)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// tomlString returns a basic string, which has fewer escapes than Go's.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, "\\u%04X", r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// writeComment writes a text as comment lines of at most printWidth columns.
func writeComment(b *bytes.Buffer, text string) {
	line := "#"
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > printWidth && line != "#" {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}
