package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// FuzzParse: no text makes the reader panic; what it accepts it can print and
// read again; what it refuses it refuses in bounded lines that name the file.
func FuzzParse(f *testing.F) {
	key := testKey(f, 1).Reveal()
	f.Add([]byte("[rack]\nkey = \"" + key + "\"\n"))
	f.Add([]byte("rack = {key = \"" + key + "\", join = [\"a\", \"b:1\"]}\nhttp.listen = \":0\"\n"))
	f.Add([]byte("[rack]\nkee = 1\n[[http]]\n[orign]\na.b.c = 2012-02-29\n"))
	f.Add([]byte("site = [{host = \"a\"}, {url = \"http://b\"}]\n[rack]\nkey = \"" + key + "\"\n"))
	f.Add([]byte("[rack]\nkey = \"" + key + "\"\n[[site]]\nhost = \"a.b\"\naliases = [\"*.b\"]\n[[site]]\nhost = \"c:8\"\n"))
	f.Add(Default().TOML(PrintOptions{Comments: true}))
	f.Add([]byte("[cache]\r\nmemory = 0x7fffffffffffffff\r\n[board]\nweight = 1e3\nname = '''\na'''"))
	f.Add([]byte("\"\" = 1\n[\"\"]\n\"\\u0000\" = {}\n[log.level]\nx = []\n"))
	f.Add([]byte("\"\\x0A00\" = {}"))
	f.Add([]byte("\ufeff[cards.1a2b.network]\naddress = \"10.0.0.2/8\"\n[cards.01a2b]\nboard = {}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("b.toml", data)
		if err == nil {
			again, err := Parse("b.toml", c.TOML(PrintOptions{Secrets: true}))
			if err != nil {
				t.Fatalf("what was accepted is refused when printed: %v", err)
			}
			// A relative catalogue starts at the file's directory, here ".".
			if !reflect.DeepEqual(c, again) {
				t.Fatalf("printed and read again\n%+v\nis not\n%+v", again, c)
			}
			return
		}
		var all *Errors
		if !errors.As(err, &all) || len(all.List) == 0 || len(all.List) > maxErrors {
			t.Fatalf("the error is a %T: %v", err, err)
		}
		for _, e := range all.List {
			line := e.Error()
			if !strings.HasPrefix(line, "b.toml:") || strings.ContainsAny(line, "\n\r") || len(line) > 1000 {
				t.Fatalf("not one short line that names the file: %q", line)
			}
			if e.Line > strings.Count(string(data), "\n")+1 {
				t.Fatalf("line %d is beyond the file", e.Line)
			}
		}
	})
}

// FuzzRackKey: a text is either a key that prints as that very text, or an
// error that does not repeat it.
func FuzzRackKey(f *testing.F) {
	f.Add(testKey(f, 1).Reveal())
	f.Add("")
	f.Add("brk_")
	f.Add("brk_" + strings.Repeat("A", 46))
	f.Add(strings.Repeat("brk_é", 10))
	f.Fuzz(func(t *testing.T, text string) {
		var k RackKey
		if err := k.UnmarshalText([]byte(text)); err != nil {
			if len(text) > 20 && strings.Contains(err.Error(), text) {
				t.Fatalf("the error repeats the text: %v", err)
			}
			return
		}
		if k.Reveal() != text || k.IsZero() {
			t.Fatalf("%q was read as %q", text, k.Reveal())
		}
	})
}
