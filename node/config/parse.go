package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"bramble/node/tomlfile"
)

// maxFile limits a configuration file, in bytes: a hundred times the size of a
// file with every key and its comment.
const maxFile = 1 << 20

const byteOrderMark = "\ufeff" // written before UTF-8 by some editors

// Load reads and parses a board's file. It reports all mistakes at once: the error is an
// *Errors, and each of its lines names file, line, key and remedy.
func Load(path string) (*Config, error) {
	doc, err := loadDocument(path, "", "", true)
	if err != nil {
		return nil, err
	}
	return doc.Config, nil
}

// loadDocument reads and parses a file. The rest is as in fileParser.
func loadDocument(path, dataDir, onlyTable string, needKey bool) (*ParsedFile, error) {
	text, err := readConfigFile(path)
	if err != nil {
		return nil, err
	}
	f := newFileParser(path, dataDir)
	f.onlyTable = onlyTable
	return f.parse(text, needKey)
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
	return loadDocument(path, "", "", false)
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
		return fail("cannot be opened: "+systemReason(err)+"; run this as its owner or with sudo, or name another file with --config", err)
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
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}

// fileParser reads one file and collects its mistakes.
type fileParser struct {
	file      string
	dataDir   string // where relative paths of directories that are written to start; "" = beside the file
	onlyTable string // the only table whose mistakes count; "" = all
	lines     tomlfile.Lines
	cfg       *Config
	failed    map[string]bool // "table.key" of the mistakes
	errors    []*Error
}

// lineOf returns the line of a key, or of a table if key is ""; 0 if the file does
// not have it.
func (f *fileParser) lineOf(table, key string) int {
	if key == "" {
		return f.lines.At(table)
	}
	return f.lines.At(tomlfile.Join(table, key))
}

// sitePath is the path of the i-th [[site]], from 0, in lines and in failed.
func sitePath(i int) string { return fmt.Sprintf("site.%d", i) }

// addError adds a mistake. The tables [[site]] are called by their sitePath.
func (f *fileParser) addError(kind error, line int, table, key, problem string) {
	f.failed[table+"."+key] = true
	if strings.HasPrefix(table, "site.") {
		table, line = "[site]", max(line, f.lineOf("site", ""))
	}
	f.errors = append(f.errors, &Error{
		File: f.file, Line: line, Table: onOneLine(shorten(table)), Key: onOneLine(shorten(key)), Problem: problem, Kind: kind,
	})
}

func newFileParser(name, data string) *fileParser {
	return &fileParser{file: name, dataDir: data, cfg: Default(), failed: map[string]bool{}}
}

func (f *fileParser) parse(data []byte, needKey bool) (*ParsedFile, error) {
	if len(data) > maxFile {
		f.addError(ErrUnreadable, 0, "", "", fmt.Sprintf("it has more than %d bytes, so it is not a board's configuration; name another file with --config", maxFile))
		return nil, collectErrors(f.errors)
	}
	data = bytes.TrimPrefix(data, []byte(byteOrderMark))
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		f.addError(ErrSyntax, 1, "", "", "not valid TOML: it is saved as UTF-16; save it as UTF-8 in your editor")
		return nil, collectErrors(f.errors)
	}
	var tree map[string]any
	if err := toml.Unmarshal(data, &tree); err != nil {
		f.addSyntaxError(data, err)
		return nil, collectErrors(f.errors)
	}
	f.lines = tomlfile.Index(data)
	cards := tree[cardsTable]
	delete(tree, cardsTable)
	doc := f.buildConfig(tree)
	if needKey && f.cfg.Rack.Key.IsZero() && !f.failed["rack.key"] && !f.failed["rack."] && !f.failed[".rack"] {
		f.addError(ErrMissing, f.lineOf("rack", ""), "rack", "key", `is missing: run "bramble key" and paste its line under [rack]`)
	}
	doc.cards = f.readCards(cards, tree)
	if f.onlyTable != "" {
		f.errors = slices.DeleteFunc(f.errors, func(e *Error) bool { return e.Table != f.onlyTable && !strings.HasSuffix(e.Table, "."+f.onlyTable) })
	}
	if err := collectErrors(f.errors); err != nil {
		return nil, err
	}
	return doc, nil
}

// buildConfig makes a configuration from a decoded file, and adds its mistakes to f.errors.
func (f *fileParser) buildConfig(tree map[string]any) *ParsedFile {
	written := f.fillTables(tree)
	if !written["cache.max_object"] { // the default is at most the limit of a small memory
		f.cfg.Cache.MaxObject = min(f.cfg.Cache.MaxObject, f.cfg.Cache.Memory/minObjects)
	}
	f.checkValues()
	f.cfg.Shop.Catalogue = relativeTo(f.file, f.cfg.Shop.Catalogue)
	f.cfg.Orders.Directory = relativeTo(f.file, underData(f.dataDir, f.cfg.Orders.Directory))
	f.cfg.Backup.Directory = relativeTo(f.file, f.cfg.Backup.Directory)
	f.cfg.TLS.ACMEStorage = underData(f.dataDir, f.cfg.TLS.ACMEStorage)
	f.cfg.TLS.resolvePaths(f.file)
	return &ParsedFile{Config: f.cfg, Written: written}
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
func (f *fileParser) fillTables(tree map[string]any) map[string]bool {
	known := map[string]tableSpec{}
	for _, t := range tableSpecs() {
		known[t.name] = t
	}
	written := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(tree)) { // [origin] comes before [[site]], which starts as its copy
		sub, ok := tree[name].(map[string]any)
		line := f.lineOf(name, "")
		t, isTable := known[name]
		switch {
		case !isTable && ok, !isTable && isTableArray(tree[name]):
			f.addError(ErrUnknownKey, line, name, "", "unknown table"+suggestTable(name))
		case !isTable:
			f.addError(ErrUnknownKey, line, "", name, "unknown key outside any table"+suggestKey("", name))
		case t.many && isTableArray(tree[name]):
			f.fillSites(tree[name].([]any), written)
		case t.many:
			f.addError(ErrWrongType, line, name, "", fmt.Sprintf("there can be several; write [[%s]] in double brackets", name))
		case isTableArray(tree[name]):
			f.addError(ErrWrongType, line, name, "", fmt.Sprintf("there is only one; write [%s] in single brackets", name))
		case !ok:
			f.addError(ErrWrongType, line, "", name, fmt.Sprintf("it is a table; write [%s] on a line of its own and its keys below", name))
		default:
			f.fillTable(name, name, sub, written, nil)
		}
	}
	return written
}

// fillTable sets the fields of one table, of a site if there is one. id is its path in lines and in failed.
func (f *fileParser) fillTable(name, id string, sub map[string]any, written map[string]bool, site *SiteSettings) {
	known := map[string]keySpec{}
	for _, s := range allKeys() {
		if s.table == name {
			known[s.key] = s
		}
	}
	for _, key := range slices.Sorted(maps.Keys(sub)) {
		s, ok := known[key]
		if !ok {
			f.addError(ErrUnknownKey, f.lineOf(id, key), id, key, "unknown key"+suggestKey(name, key))
			continue
		}
		if problem, kind := assignValue(s, s.at(f.cfg, site), sub[key]); kind != nil {
			f.addError(kind, f.lineOf(id, key), id, key, problem)
			continue
		}
		written[name+"."+key] = true
	}
}

// fillSites reads the tables [[site]]. Each starts as a copy of [origin].
func (f *fileParser) fillSites(list []any, written map[string]bool) {
	if problem := checkCount(len(list), maxSites, "sites"); problem != "" {
		f.addError(ErrBadValue, f.lineOf("site", ""), "[site]", "", problem)
		return
	}
	for i, one := range list {
		sub, ok := one.(map[string]any)
		if !ok {
			f.addError(ErrWrongType, f.lineOf("site", ""), "[site]", "", "write [[site]] on a line of its own and its keys below")
			return
		}
		f.cfg.Sites = append(f.cfg.Sites, SiteSettings{Origin: f.cfg.Origin})
		site := &f.cfg.Sites[i]
		f.fillTable("site", sitePath(i), sub, written, site)
		site.Host = strings.ToLower(site.Host)
	}
}

// checkValues applies the check of each key, and the checks between keys.
func (f *fileParser) checkValues() {
	for _, s := range allKeys() {
		if s.check == nil || s.table == "site" || f.failed[s.table+"."+s.key] {
			continue
		}
		if s.key == "max_object" && f.failed["cache.memory"] {
			continue // its limit is unknown
		}
		if problem := s.check(f.cfg, nil); problem != "" {
			f.addError(ErrBadValue, f.lineOf(s.table, s.key), s.table, s.key, problem)
		}
	}
	f.checkSites()
	if one, other, clash := checkListeners(f.cfg); clash {
		if f.lineOf(other.table, other.key) == 0 {
			one, other = other, one // report the one that the file sets
		}
		f.addError(ErrBadValue, f.lineOf(other.table, other.key), other.table, other.key,
			fmt.Sprintf("%s is already used by [%s] %s; write another port", quote(other.addr), one.table, one.key))
	}
}

func (f *fileParser) checkSites() {
	complaints := len(f.errors)
	for i := range f.cfg.Sites {
		id := sitePath(i)
		for _, s := range siteKeys() {
			if f.failed[id+"."+s.key] {
				continue
			}
			line := f.lineOf(id, s.key)
			if line == 0 && s.key != "host" {
				continue // it is a copy of [origin]'s, which is checked already
			}
			if f.cfg.Sites[i].Host == "" && s.key == "host" {
				f.addError(ErrMissing, max(line, f.lineOf(id, "")), id, "host", `is missing: write the site's host name, such as host = "shop.example"`)
			} else if problem := s.check(f.cfg, &f.cfg.Sites[i]); problem != "" {
				f.addError(ErrBadValue, line, id, s.key, problem)
			}
		}
	}
	if len(f.errors) > complaints || f.failed["origin.url"] {
		return
	}
	if c, found := checkSites(f.cfg); found {
		id := sitePath(c.site)
		f.addError(ErrBadValue, max(f.lineOf(id, c.key), f.lineOf(id, "")), id, c.key, c.problem)
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

// addSyntaxError adds the mistake that the TOML decoder found, with a remedy.
func (f *fileParser) addSyntaxError(data []byte, err error) {
	e := tomlfile.Explain(data, err)
	problem := e.Remedy
	if problem == "" {
		problem = onOneLine(shorten(e.Message))
	}
	if e.Key != "" {
		problem = onOneLine(shorten(e.Key)) + ": " + problem
	}
	f.addError(ErrSyntax, e.Line, "", "", "not valid TOML: "+problem)
	f.errors[len(f.errors)-1].Column = e.Column
}
