package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// maxFile bounds a configuration file, in bytes: a hundred times what every
// key with its comment needs.
const maxFile = 1 << 20

// byteOrderMark is what some editors put before UTF-8.
const byteOrderMark = "\ufeff"

// Load reads a board's file. Every mistake in it is told at once: the error
// is an *Errors whose lines each name file, line, key and remedy.
func Load(path string) (*Config, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// Parse reads the text of a board's file, which is called name in messages.
// The folder of name is where a relative [shop] catalogue starts.
func Parse(name string, data []byte) (*Config, error) {
	doc, err := newReader(name, "").parse(data, true)
	if err != nil {
		return nil, err
	}
	return doc.Config, nil
}

// Document is a file that need not be complete.
type Document struct {
	Config  *Config         // defaults where the file says nothing
	Written map[string]bool // keys that the file sets, as "table.key"
	cards   []card
}

// LoadDocument is Load for a file that need not hold a rack key, and says
// which keys it holds: what the lab takes for all its boards.
func LoadDocument(path string) (*Document, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	return ParseDocument(path, data)
}

// ParseDocument is LoadDocument for a text.
func ParseDocument(name string, data []byte) (*Document, error) {
	return newReader(name, "").parse(data, false)
}

func read(path string) ([]byte, error) {
	fail := func(problem string, cause error) ([]byte, error) {
		return nil, collect([]*Error{{File: path, Problem: problem, Kind: ErrUnreadable, Cause: cause}})
	}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail(`there is no such file; write one that holds [rack] and below it the line of "bramble key", or name another with --config`, err)
	case err != nil:
		return fail("cannot be opened: "+reason(err)+"; name another file with --config, or give this one its rights", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return fail("cannot be read: "+reason(err)+"; name another file with --config", err)
	}
	return data, nil
}

// reason is what the system said, without operation and path.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// reader gathers the mistakes of one file.
type reader struct {
	file  string
	data  string // where a relative folder of orders starts; "" = beside the file
	only  string // the one table that is read; "" = all
	lines lines
	cfg   *Config
	bad   map[string]bool // "table.key" already complained of
	list  []*Error
}

// fail notes a mistake. A table that is one of several is called as nth says.
func (r *reader) fail(kind error, line int, table, key, problem string) {
	r.bad[table+"."+key] = true
	if strings.HasPrefix(table, "[") && strings.Contains(table, "]") {
		table = table[:strings.Index(table, "]")+1]
		line = max(line, r.lines.of(strings.Trim(table, "[]"), ""))
	}
	r.list = append(r.list, &Error{
		File: r.file, Line: line, Table: onOneLine(short(table)), Key: onOneLine(short(key)), Problem: problem, Kind: kind,
	})
}

func newReader(name, data string) *reader {
	return &reader{file: name, data: data, cfg: Default(), bad: map[string]bool{}}
}

func (r *reader) parse(data []byte, needKey bool) (*Document, error) {
	if len(data) > maxFile {
		r.fail(ErrUnreadable, 0, "", "", fmt.Sprintf("it has more than %d bytes and is no board's configuration; name another with --config", maxFile))
		return nil, collect(r.list)
	}
	data = bytes.TrimPrefix(data, []byte(byteOrderMark))
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		r.fail(ErrSyntax, 1, "", "", "not valid TOML: it is saved as UTF-16; have the editor save it as UTF-8")
		return nil, collect(r.list)
	}
	var tree map[string]any
	if err := toml.Unmarshal(data, &tree); err != nil {
		r.syntax(data, err)
		return nil, collect(r.list)
	}
	r.lines = index(data)
	if r.only != "" {
		keep(tree, r.only)
	}
	cards := tree[cardsTable]
	delete(tree, cardsTable)
	doc := r.document(tree)
	if needKey && r.cfg.Rack.Key.IsZero() && !r.bad["rack.key"] && !r.bad["rack."] && !r.bad[".rack"] {
		r.fail(ErrMissing, r.lines.of("rack", ""), "rack", "key", `is missing: run "bramble key" and paste its line under [rack]`)
	}
	doc.cards = r.readCards(cards, tree)
	if err := collect(r.list); err != nil {
		return nil, err
	}
	return doc, nil
}

// document makes settings of a decoded file; what is wrong is in r.list.
func (r *reader) document(tree map[string]any) *Document {
	written := r.fill(tree)
	r.fit(written)
	r.check()
	r.cfg.Shop.Catalogue = beside(r.file, r.cfg.Shop.Catalogue)
	r.cfg.Orders.Folder = beside(r.file, below(r.data, r.cfg.Orders.Folder))
	r.cfg.TLS.Folder = below(r.data, r.cfg.TLS.Folder)
	r.cfg.TLS.beside(r.file)
	return &Document{Config: r.cfg, Written: written}
}

// beside makes a relative path, which starts at the folder of the file that
// names it, absolute: the lab hands it to boards whose files are elsewhere.
// Without a working directory it is right for this process at least.
func beside(file, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	path = filepath.Join(filepath.Dir(file), path)
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// fill sets the fields from the decoded file and returns what it has set.
func (r *reader) fill(tree map[string]any) map[string]bool {
	known := map[string]table{}
	for _, t := range tables() {
		known[t.name] = t
	}
	written := map[string]bool{}
	for _, name := range sorted(tree) { // [origin] comes before [[site]], which begins as it is
		sub, ok := tree[name].(map[string]any)
		line := r.lines.of(name, "")
		t, isTable := known[name]
		switch {
		case !isTable && ok, !isTable && isTables(tree[name]):
			r.fail(ErrUnknownKey, line, name, "", "unknown table"+meantTable(name))
		case !isTable:
			r.fail(ErrUnknownKey, line, "", name, "unknown key outside any table"+meantKey("", name))
		case t.many && isTables(tree[name]):
			r.fillSites(tree[name].([]any), written)
		case t.many:
			r.fail(ErrWrongType, line, name, "", fmt.Sprintf("there may be several; write [[%s]] in double brackets", name))
		case isTables(tree[name]):
			r.fail(ErrWrongType, line, name, "", fmt.Sprintf("there is only one; write [%s] in single brackets", name))
		case !ok:
			r.fail(ErrWrongType, line, "", name, fmt.Sprintf("this is a table; write [%s] on a line of its own and its keys below", name))
		default:
			r.fillTable(name, name, sub, written, func(s setting) any { return s.at(r.cfg) })
		}
	}
	return written
}

// fillTable sets the fields of one table, called id where lines and mistakes are kept.
func (r *reader) fillTable(name, id string, sub map[string]any, written map[string]bool, at func(setting) any) {
	known := map[string]setting{}
	for _, s := range settings() {
		if s.table == name {
			known[s.key] = s
		}
	}
	for _, key := range sorted(sub) {
		s, ok := known[key]
		if !ok {
			r.fail(ErrUnknownKey, r.lines.of(id, key), id, key, "unknown key"+meantKey(name, key))
			continue
		}
		if problem, kind := assign(s, at(s), sub[key]); kind != nil {
			r.fail(kind, r.lines.of(id, key), id, key, problem)
			continue
		}
		written[name+"."+key] = true
	}
}

// fillSites reads the tables [[site]]. Each begins as what [origin] says.
func (r *reader) fillSites(list []any, written map[string]bool) {
	if problem := checkCount(len(list), maxSites, "sites"); problem != "" {
		r.fail(ErrBadValue, r.lines.of("site", ""), "[site]", "", problem)
		return
	}
	for i, one := range list {
		sub, ok := one.(map[string]any)
		if !ok {
			r.fail(ErrWrongType, r.lines.of("site", ""), "[site]", "", "write [[site]] on a line of its own and its keys below")
			return
		}
		r.cfg.Sites = append(r.cfg.Sites, Site{Origin: r.cfg.Origin})
		site := &r.cfg.Sites[i]
		r.fillTable("site", nth("site", i), sub, written, func(s setting) any { return s.atSite(site) })
		site.Host = strings.ToLower(site.Host)
	}
}

// fit keeps the default of max_object within a memory that is smaller than usual.
func (r *reader) fit(written map[string]bool) {
	if !written["cache.max_object"] {
		r.cfg.Cache.MaxObject = min(r.cfg.Cache.MaxObject, r.cfg.Cache.Memory/objectsHeld)
	}
}

// check applies the rule of each key, and the rules between keys.
func (r *reader) check() {
	for _, s := range settings() {
		if s.check == nil || r.bad[s.table+"."+s.key] {
			continue
		}
		if s.key == "max_object" && r.bad["cache.memory"] {
			continue // its bound is not known
		}
		if problem := s.check(r.cfg); problem != "" {
			r.fail(ErrBadValue, r.lines.of(s.table, s.key), s.table, s.key, problem)
		}
	}
	r.checkSites()
	if one, other, clash := checkListeners(r.cfg); clash {
		if r.lines.of(other.table, other.key) == 0 {
			one, other = other, one // complain of the one that stands in the file
		}
		r.fail(ErrBadValue, r.lines.of(other.table, other.key), other.table, other.key,
			fmt.Sprintf("%s is what [%s] %s holds; write another port", quote(other.addr), one.table, one.key))
	}
}

func (r *reader) checkSites() {
	complaints := len(r.list)
	for i := range r.cfg.Sites {
		id := nth("site", i)
		for _, s := range siteSettings() {
			if s.checkSite == nil || r.bad[id+"."+s.key] {
				continue
			}
			line := r.lines.of(id, s.key)
			if line == 0 && s.key != "host" {
				continue // it is [origin]'s, where it was checked
			}
			if r.cfg.Sites[i].Host == "" && s.key == "host" {
				r.fail(ErrMissing, max(line, r.lines.of(id, "")), id, "host", `is missing: write the site's host name, such as host = "shop.example"`)
			} else if problem := s.checkSite(&r.cfg.Sites[i]); problem != "" {
				r.fail(ErrBadValue, line, id, s.key, problem)
			}
		}
	}
	if len(r.list) > complaints || r.bad["origin.url"] {
		return
	}
	if c, found := checkSites(r.cfg); found {
		id := nth("site", c.site)
		r.fail(ErrBadValue, max(r.lines.of(id, c.key), r.lines.of(id, "")), id, c.key, c.problem)
	}
}

// assign sets a field from a decoded value, or says what is wrong with it and
// which kind of mistake that is.
func assign(s setting, field, value any) (problem string, kind error) {
	shown := "a secret"
	if !s.secret {
		shown = show(value)
	}
	switch f := field.(type) {
	case *RackKey:
		return assignText(f, value, shown, `the string that "bramble key" prints`)
	case *[]RackKey:
		list, ok := value.([]any)
		if !ok {
			return "write a list of keys in brackets: [\"…\", \"…\"]", ErrWrongType
		}
		if len(list) == 0 {
			*f = nil
			return "", nil
		}
		keys := make([]RackKey, len(list))
		for i := range list {
			if problem, kind := assignText(&keys[i], list[i], "a secret", `the string that "bramble key" printed`); kind != nil {
				return fmt.Sprintf("key %d of the list: %s", i+1, problem), kind
			}
		}
		*f = keys
	case *Size:
		if n, ok := value.(int64); ok && n >= 0 {
			*f = Size(n)
			return "", nil
		}
		return assignText(f, value, shown, `a size in quotes, such as "64MB"`)
	case *Duration:
		return assignText(f, value, shown, `a duration in quotes, such as "10s"`)
	case *string:
		v, ok := value.(string)
		if !ok {
			return "write a string in quotes" + insteadOf(s, shown), ErrWrongType
		}
		*f = v
	case *int:
		n, ok := value.(int64)
		if !ok {
			return "write a whole number without quotes" + insteadOf(s, shown), ErrWrongType
		}
		if n != int64(int32(n)) { // the same bound on every board
			return fmt.Sprintf("%d is out of range; the largest number is %d", n, math.MaxInt32), ErrBadValue
		}
		*f = int(n)
	case *bool:
		v, ok := value.(bool)
		if !ok {
			return "write true or false without quotes" + insteadOf(s, shown), ErrWrongType
		}
		*f = v
	case *[]string:
		list, ok := value.([]any)
		if !ok {
			return "write a list of strings in brackets, [\"…\", \"…\"]" + insteadOf(s, shown), ErrWrongType
		}
		if len(list) == 0 {
			*f = nil
			return "", nil
		}
		words := make([]string, len(list))
		for i := range list {
			if words[i], ok = list[i].(string); !ok {
				return "write only strings in the list, each in quotes, instead of " + show(list[i]), ErrWrongType
			}
		}
		*f = words
	}
	return "", nil
}

func insteadOf(s setting, shown string) string {
	if s.secret {
		return ""
	}
	return " instead of " + shown
}

func assignText(f encoding.TextUnmarshaler, value any, shown, want string) (problem string, kind error) {
	v, ok := value.(string)
	if !ok {
		return "write " + want + ", instead of " + shown, ErrWrongType
	}
	if err := f.UnmarshalText([]byte(v)); err != nil {
		if _, secret := f.(*RackKey); secret {
			return err.Error(), ErrBadValue
		}
		return quote(v) + ": " + err.Error(), ErrBadValue
	}
	return "", nil
}

// show repeats a value in a message.
func show(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case int64, float64, bool:
		return fmt.Sprint(v)
	case map[string]any:
		return "a table"
	case []any:
		return "a list"
	default:
		return "a date or time"
	}
}

func isTables(v any) bool {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return false
	}
	_, ok = list[0].(map[string]any)
	return ok
}

func sorted(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
