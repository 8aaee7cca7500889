package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"bramble/node/tomlfile"
)

// maxFile bounds a configuration file, in bytes: a hundred times the size of a
// file with every key and its comment.
const maxFile = 1 << 20

// byteOrderMark is written before UTF-8 by some editors.
const byteOrderMark = "\ufeff"

// Load reads a board's file. It reports all mistakes at once: the error is an
// *Errors, and each of its lines names file, line, key and remedy.
func Load(path string) (*Config, error) {
	data, err := readConfigFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// Parse reads the text of a board's file. Messages call the file name, and
// relative paths start at the directory of name.
func Parse(name string, data []byte) (*Config, error) {
	doc, err := newFileParser(name, "").parse(data, true)
	if err != nil {
		return nil, err
	}
	return doc.Config, nil
}

// ParsedFile is a parsed file and the keys that it sets.
type ParsedFile struct {
	Config  *Config         // keys that the file does not set have their defaults
	Written map[string]bool // keys that the file sets, as "table.key"
	cards   []cardOverlay
}

// LoadFile is Load for a file that may lack the rack key, such as the template
// of a lab. It also returns which keys the file sets.
func LoadFile(path string) (*ParsedFile, error) {
	data, err := readConfigFile(path)
	if err != nil {
		return nil, err
	}
	return ParseFile(path, data)
}

// ParseFile is LoadFile for the text of a file.
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
		return fail(`there is no such file; write one that holds [rack] and below it the line of "bramble key", or name another file with --config`, err)
	case err != nil:
		return fail("cannot be opened: "+systemReason(err)+"; make it readable, or name another file with --config", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return fail("cannot be read: "+systemReason(err)+"; name another file with --config", err)
	}
	return data, nil
}

// systemReason returns the system's error without operation and path.
func systemReason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// fileParser reads one file and collects its mistakes.
type fileParser struct {
	file      string
	dataDir   string // where relative paths of directories that are written to start; "" = beside the file
	onlyTable string // the only table that is read; "" = all
	lines     tomlfile.Lines
	cfg       *Config
	failed    map[string]bool // "table.key" of the mistakes
	errors    []*Error
}

// lineOf returns the line of a key, or of a table if key is ""; 0 if the file does
// not have it.
func (r *fileParser) lineOf(table, key string) int {
	if key == "" {
		return r.lines.At(table)
	}
	return r.lines.At(tomlfile.Join(table, key))
}

// sitePath is the path of the i-th [[site]], from 0, in lines and in failed.
func sitePath(i int) string { return fmt.Sprintf("site.%d", i) }

// addError adds a mistake. The tables [[site]] are called by their sitePath.
func (r *fileParser) addError(kind error, line int, table, key, problem string) {
	r.failed[table+"."+key] = true
	if strings.HasPrefix(table, "site.") {
		table, line = "[site]", max(line, r.lineOf("site", ""))
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
		r.addError(ErrUnreadable, 0, "", "", fmt.Sprintf("it has more than %d bytes, so it is not a board's configuration; name another file with --config", maxFile))
		return nil, collectErrors(r.errors)
	}
	data = bytes.TrimPrefix(data, []byte(byteOrderMark))
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		r.addError(ErrSyntax, 1, "", "", "not valid TOML: it is saved as UTF-16; save it as UTF-8 in your editor")
		return nil, collectErrors(r.errors)
	}
	var tree map[string]any
	if err := toml.Unmarshal(data, &tree); err != nil {
		r.addSyntaxError(data, err)
		return nil, collectErrors(r.errors)
	}
	r.lines = tomlfile.Index(data)
	if r.onlyTable != "" {
		keepOnlyTable(tree, r.onlyTable)
	}
	cards := tree[cardsTable]
	delete(tree, cardsTable)
	doc := r.buildConfig(tree)
	if needKey && r.cfg.Rack.Key.IsZero() && !r.failed["rack.key"] && !r.failed["rack."] && !r.failed[".rack"] {
		r.addError(ErrMissing, r.lineOf("rack", ""), "rack", "key", `is missing: run "bramble key" and paste its line under [rack]`)
	}
	doc.cards = r.readCards(cards, tree)
	if err := collectErrors(r.errors); err != nil {
		return nil, err
	}
	return doc, nil
}

// buildConfig makes a configuration of a decoded file, and adds its mistakes to r.errors.
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

// relativeTo makes a relative path absolute, because the lab passes it to boards
// whose files are elsewhere. It starts at the directory of the file that names
// it. Without a working directory the path stays relative, which is right for
// this process at least.
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

// fillTables sets the fields from the decoded file and returns the keys that it has set.
func (r *fileParser) fillTables(tree map[string]any) map[string]bool {
	known := map[string]tableSpec{}
	for _, t := range tableSpecs() {
		known[t.name] = t
	}
	written := map[string]bool{}
	for _, name := range sortedKeys(tree) { // [origin] comes before [[site]], which starts as its copy
		sub, ok := tree[name].(map[string]any)
		line := r.lineOf(name, "")
		t, isTable := known[name]
		switch {
		case !isTable && ok, !isTable && isTableArray(tree[name]):
			r.addError(ErrUnknownKey, line, name, "", "unknown table"+suggestTable(name))
		case !isTable:
			r.addError(ErrUnknownKey, line, "", name, "unknown key outside any table"+suggestKey("", name))
		case t.many && isTableArray(tree[name]):
			r.fillSites(tree[name].([]any), written)
		case t.many:
			r.addError(ErrWrongType, line, name, "", fmt.Sprintf("there can be several; write [[%s]] in double brackets", name))
		case isTableArray(tree[name]):
			r.addError(ErrWrongType, line, name, "", fmt.Sprintf("there is only one; write [%s] in single brackets", name))
		case !ok:
			r.addError(ErrWrongType, line, "", name, fmt.Sprintf("it is a table; write [%s] on a line of its own and its keys below", name))
		default:
			r.fillTable(name, name, sub, written, func(s keySpec) any { return s.at(r.cfg) })
		}
	}
	return written
}

// fillTable sets the fields of one table. id is its path in lines and in failed.
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
			r.addError(ErrUnknownKey, r.lineOf(id, key), id, key, "unknown key"+suggestKey(name, key))
			continue
		}
		if problem, kind := assignValue(s, at(s), sub[key]); kind != nil {
			r.addError(kind, r.lineOf(id, key), id, key, problem)
			continue
		}
		written[name+"."+key] = true
	}
}

// fillSites reads the tables [[site]]. Each starts as a copy of [origin].
func (r *fileParser) fillSites(list []any, written map[string]bool) {
	if problem := checkCount(len(list), maxSites, "sites"); problem != "" {
		r.addError(ErrBadValue, r.lineOf("site", ""), "[site]", "", problem)
		return
	}
	for i, one := range list {
		sub, ok := one.(map[string]any)
		if !ok {
			r.addError(ErrWrongType, r.lineOf("site", ""), "[site]", "", "write [[site]] on a line of its own and its keys below")
			return
		}
		r.cfg.Sites = append(r.cfg.Sites, SiteSettings{Origin: r.cfg.Origin})
		site := &r.cfg.Sites[i]
		r.fillTable("site", sitePath(i), sub, written, func(s keySpec) any { return s.atSite(site) })
		site.Host = strings.ToLower(site.Host)
	}
}

// fitMaxObject lowers the default of max_object to what a small memory allows.
func (r *fileParser) fitMaxObject(written map[string]bool) {
	if !written["cache.max_object"] {
		r.cfg.Cache.MaxObject = min(r.cfg.Cache.MaxObject, r.cfg.Cache.Memory/minObjects)
	}
}

// checkValues applies the check of each key, and the checks between keys.
func (r *fileParser) checkValues() {
	for _, s := range allKeys() {
		if s.check == nil || r.failed[s.table+"."+s.key] {
			continue
		}
		if s.key == "max_object" && r.failed["cache.memory"] {
			continue // its bound is unknown
		}
		if problem := s.check(r.cfg); problem != "" {
			r.addError(ErrBadValue, r.lineOf(s.table, s.key), s.table, s.key, problem)
		}
	}
	r.checkSites()
	if one, other, clash := checkListeners(r.cfg); clash {
		if r.lineOf(other.table, other.key) == 0 {
			one, other = other, one // report the one that the file sets
		}
		r.addError(ErrBadValue, r.lineOf(other.table, other.key), other.table, other.key,
			fmt.Sprintf("%s is already used by [%s] %s; write another port", quote(other.addr), one.table, one.key))
	}
}

func (r *fileParser) checkSites() {
	complaints := len(r.errors)
	for i := range r.cfg.Sites {
		id := sitePath(i)
		for _, s := range siteKeys() {
			if s.checkSite == nil || r.failed[id+"."+s.key] {
				continue
			}
			line := r.lineOf(id, s.key)
			if line == 0 && s.key != "host" {
				continue // it is a copy of [origin]'s, which is checked already
			}
			if r.cfg.Sites[i].Host == "" && s.key == "host" {
				r.addError(ErrMissing, max(line, r.lineOf(id, "")), id, "host", `is missing: write the site's host name, such as host = "shop.example"`)
			} else if problem := s.checkSite(&r.cfg.Sites[i]); problem != "" {
				r.addError(ErrBadValue, line, id, s.key, problem)
			}
		}
	}
	if len(r.errors) > complaints || r.failed["origin.url"] {
		return
	}
	if c, found := checkSites(r.cfg); found {
		id := sitePath(c.site)
		r.addError(ErrBadValue, max(r.lineOf(id, c.key), r.lineOf(id, "")), id, c.key, c.problem)
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

// addSyntaxError adds the mistake that the TOML decoder found, with a remedy.
func (r *fileParser) addSyntaxError(data []byte, err error) {
	e := tomlfile.Explain(data, err)
	problem := e.Remedy
	if problem == "" {
		problem = onOneLine(shorten(e.Message))
	}
	if e.Key != "" {
		problem = onOneLine(shorten(e.Key)) + ": " + problem
	}
	r.addError(ErrSyntax, e.Line, "", "", "not valid TOML: "+problem)
	r.errors[len(r.errors)-1].Column = e.Column
}
