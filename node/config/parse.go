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
	data, err := readConfigFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// Parse reads the text of a board's file, which is called name in messages.
// The folder of name is where a relative [shop] catalogue starts.
func Parse(name string, data []byte) (*Config, error) {
	doc, err := newFileParser(name, "").parse(data, true)
	if err != nil {
		return nil, err
	}
	return doc.Config, nil
}

// ParsedFile is a file that need not be complete.
type ParsedFile struct {
	Config  *Config         // defaults where the file says nothing
	Written map[string]bool // keys that the file sets, as "table.key"
	cards   []cardOverlay
}

// LoadFile is Load for a file that need not hold a rack key, and says
// which keys it holds: what the lab takes for all its boards.
func LoadFile(path string) (*ParsedFile, error) {
	data, err := readConfigFile(path)
	if err != nil {
		return nil, err
	}
	return ParseFile(path, data)
}

// ParseFile is LoadDocument for a text.
func ParseFile(name string, data []byte) (*ParsedFile, error) {
	return newFileParser(name, "").parse(data, false)
}

func readConfigFile(path string) ([]byte, error) {
	fail := func(problem string, cause error) ([]byte, error) {
		return nil, collectErrors([]*Error{{File: path, Problem: problem, Kind: ErrUnreadable, Cause: cause}})
	}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail(`there is no such file; write one that holds [rack] and below it the line of "bramble key", or name another with --config`, err)
	case err != nil:
		return fail("cannot be opened: "+systemReason(err)+"; name another file with --config, or give this one its rights", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return fail("cannot be read: "+systemReason(err)+"; name another file with --config", err)
	}
	return data, nil
}

// systemReason is what the system said, without operation and path.
func systemReason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// fileParser gathers the mistakes of one file.
type fileParser struct {
	file      string
	dataDir   string // where a relative folder of orders starts; "" = beside the file
	onlyTable string // the one table that is read; "" = all
	lines     lines
	cfg       *Config
	failed    map[string]bool // "table.key" already complained of
	errors    []*Error
}

// addError notes a mistake. A table that is one of several is called as nth says.
func (r *fileParser) addError(kind error, line int, table, key, problem string) {
	r.failed[table+"."+key] = true
	if strings.HasPrefix(table, "[") && strings.Contains(table, "]") {
		table = table[:strings.Index(table, "]")+1]
		line = max(line, r.lines.of(strings.Trim(table, "[]"), ""))
	}
	r.errors = append(r.errors, &Error{
		File: r.file, Line: line, Table: onOneLine(shorten(table)), Key: onOneLine(shorten(key)), Problem: problem, Kind: kind,
	})
}

func newFileParser(name, data string) *fileParser {
	return &fileParser{file: name, dataDir: data, cfg: Default(), failed: map[string]bool{}}
}

func (r *fileParser) parse(data []byte, needKey bool) (*ParsedFile, error) {
	if len(data) > maxFile {
		r.addError(ErrUnreadable, 0, "", "", fmt.Sprintf("it has more than %d bytes and is no board's configuration; name another with --config", maxFile))
		return nil, collectErrors(r.errors)
	}
	data = bytes.TrimPrefix(data, []byte(byteOrderMark))
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		r.addError(ErrSyntax, 1, "", "", "not valid TOML: it is saved as UTF-16; have the editor save it as UTF-8")
		return nil, collectErrors(r.errors)
	}
	var tree map[string]any
	if err := toml.Unmarshal(data, &tree); err != nil {
		r.addSyntaxError(data, err)
		return nil, collectErrors(r.errors)
	}
	r.lines = index(data)
	if r.onlyTable != "" {
		keepOnlyTable(tree, r.onlyTable)
	}
	cards := tree[cardsTable]
	delete(tree, cardsTable)
	doc := r.buildConfig(tree)
	if needKey && r.cfg.Rack.Key.IsZero() && !r.failed["rack.key"] && !r.failed["rack."] && !r.failed[".rack"] {
		r.addError(ErrMissing, r.lines.of("rack", ""), "rack", "key", `is missing: run "bramble key" and paste its line under [rack]`)
	}
	doc.cards = r.readCards(cards, tree)
	if err := collectErrors(r.errors); err != nil {
		return nil, err
	}
	return doc, nil
}

// buildConfig makes settings of a decoded file; what is wrong is in r.list.
func (r *fileParser) buildConfig(tree map[string]any) *ParsedFile {
	written := r.fillTables(tree)
	r.fitMaxObject(written)
	r.checkValues()
	r.cfg.Shop.Catalogue = relativeTo(r.file, r.cfg.Shop.Catalogue)
	r.cfg.Orders.Directory = relativeTo(r.file, underData(r.dataDir, r.cfg.Orders.Directory))
	r.cfg.TLS.ACMEStorage = underData(r.dataDir, r.cfg.TLS.ACMEStorage)
	r.cfg.TLS.resolvePaths(r.file)
	return &ParsedFile{Config: r.cfg, Written: written}
}

// relativeTo makes a relative path, which starts at the folder of the file that
// names it, absolute: the lab hands it to boards whose files are elsewhere.
// Without a working directory it is right for this process at least.
func relativeTo(file, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	path = filepath.Join(filepath.Dir(file), path)
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// fillTables sets the fields from the decoded file and returns what it has set.
func (r *fileParser) fillTables(tree map[string]any) map[string]bool {
	known := map[string]tableSpec{}
	for _, t := range tableSpecs() {
		known[t.name] = t
	}
	written := map[string]bool{}
	for _, name := range sortedKeys(tree) { // [origin] comes before [[site]], which begins as it is
		sub, ok := tree[name].(map[string]any)
		line := r.lines.of(name, "")
		t, isTable := known[name]
		switch {
		case !isTable && ok, !isTable && isTableArray(tree[name]):
			r.addError(ErrUnknownKey, line, name, "", "unknown table"+suggestTable(name))
		case !isTable:
			r.addError(ErrUnknownKey, line, "", name, "unknown key outside any table"+suggestKey("", name))
		case t.many && isTableArray(tree[name]):
			r.fillSites(tree[name].([]any), written)
		case t.many:
			r.addError(ErrWrongType, line, name, "", fmt.Sprintf("there may be several; write [[%s]] in double brackets", name))
		case isTableArray(tree[name]):
			r.addError(ErrWrongType, line, name, "", fmt.Sprintf("there is only one; write [%s] in single brackets", name))
		case !ok:
			r.addError(ErrWrongType, line, "", name, fmt.Sprintf("this is a table; write [%s] on a line of its own and its keys below", name))
		default:
			r.fillTable(name, name, sub, written, func(s keySpec) any { return s.at(r.cfg) })
		}
	}
	return written
}

// fillTable sets the fields of one table, called id where lines and mistakes are kept.
func (r *fileParser) fillTable(name, id string, sub map[string]any, written map[string]bool, at func(keySpec) any) {
	known := map[string]keySpec{}
	for _, s := range allKeys() {
		if s.table == name {
			known[s.key] = s
		}
	}
	for _, key := range sortedKeys(sub) {
		s, ok := known[key]
		if !ok {
			r.addError(ErrUnknownKey, r.lines.of(id, key), id, key, "unknown key"+suggestKey(name, key))
			continue
		}
		if problem, kind := assignValue(s, at(s), sub[key]); kind != nil {
			r.addError(kind, r.lines.of(id, key), id, key, problem)
			continue
		}
		written[name+"."+key] = true
	}
}

// fillSites reads the tables [[site]]. Each begins as what [origin] says.
func (r *fileParser) fillSites(list []any, written map[string]bool) {
	if problem := checkCount(len(list), maxSites, "sites"); problem != "" {
		r.addError(ErrBadValue, r.lines.of("site", ""), "[site]", "", problem)
		return
	}
	for i, one := range list {
		sub, ok := one.(map[string]any)
		if !ok {
			r.addError(ErrWrongType, r.lines.of("site", ""), "[site]", "", "write [[site]] on a line of its own and its keys below")
			return
		}
		r.cfg.Sites = append(r.cfg.Sites, SiteSettings{Origin: r.cfg.Origin})
		site := &r.cfg.Sites[i]
		r.fillTable("site", nth("site", i), sub, written, func(s keySpec) any { return s.atSite(site) })
		site.Host = strings.ToLower(site.Host)
	}
}

// fitMaxObject keeps the default of max_object within a memory that is smaller than usual.
func (r *fileParser) fitMaxObject(written map[string]bool) {
	if !written["cache.max_object"] {
		r.cfg.Cache.MaxObject = min(r.cfg.Cache.MaxObject, r.cfg.Cache.Memory/minObjects)
	}
}

// checkValues applies the rule of each key, and the rules between keys.
func (r *fileParser) checkValues() {
	for _, s := range allKeys() {
		if s.check == nil || r.failed[s.table+"."+s.key] {
			continue
		}
		if s.key == "max_object" && r.failed["cache.memory"] {
			continue // its bound is not known
		}
		if problem := s.check(r.cfg); problem != "" {
			r.addError(ErrBadValue, r.lines.of(s.table, s.key), s.table, s.key, problem)
		}
	}
	r.checkSites()
	if one, other, clash := checkListeners(r.cfg); clash {
		if r.lines.of(other.table, other.key) == 0 {
			one, other = other, one // complain of the one that stands in the file
		}
		r.addError(ErrBadValue, r.lines.of(other.table, other.key), other.table, other.key,
			fmt.Sprintf("%s is what [%s] %s holds; write another port", quote(other.addr), one.table, one.key))
	}
}

func (r *fileParser) checkSites() {
	complaints := len(r.errors)
	for i := range r.cfg.Sites {
		id := nth("site", i)
		for _, s := range siteKeys() {
			if s.checkSite == nil || r.failed[id+"."+s.key] {
				continue
			}
			line := r.lines.of(id, s.key)
			if line == 0 && s.key != "host" {
				continue // it is [origin]'s, where it was checked
			}
			if r.cfg.Sites[i].Host == "" && s.key == "host" {
				r.addError(ErrMissing, max(line, r.lines.of(id, "")), id, "host", `is missing: write the site's host name, such as host = "shop.example"`)
			} else if problem := s.checkSite(&r.cfg.Sites[i]); problem != "" {
				r.addError(ErrBadValue, line, id, s.key, problem)
			}
		}
	}
	if len(r.errors) > complaints || r.failed["origin.url"] {
		return
	}
	if c, found := checkSites(r.cfg); found {
		id := nth("site", c.site)
		r.addError(ErrBadValue, max(r.lines.of(id, c.key), r.lines.of(id, "")), id, c.key, c.problem)
	}
}

// assignValue sets a field from a decoded value, or says what is wrong with it and
// which kind of mistake that is.
func assignValue(s keySpec, field, value any) (problem string, kind error) {
	shown := "a secret"
	if !s.secret {
		shown = describeValue(value)
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
				return "write only strings in the list, each in quotes, instead of " + describeValue(list[i]), ErrWrongType
			}
		}
		*f = words
	}
	return "", nil
}

func insteadOf(s keySpec, shown string) string {
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

// describeValue repeats a value in a message.
func describeValue(v any) string {
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

func isTableArray(v any) bool {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return false
	}
	_, ok = list[0].(map[string]any)
	return ok
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
