package images

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// aptSource is one archive that an apt configuration names.
type aptSource struct {
	uri        string
	suite      string
	components []string
	signedBy   string
}

// systemMirrors returns the Debian mirrors that the apt configuration in a folder
// names, the likeliest first. A wrong one does no harm: packages are checked by their
// hash.
func systemMirrors(folder, suite string) []string {
	var all []aptSource
	lists, _ := filepath.Glob(filepath.Join(folder, "sources.list.d", "*.list")) // the pattern is valid
	lists = append([]string{filepath.Join(folder, "sources.list")}, lists...)
	for _, name := range lists {
		if text, err := os.ReadFile(name); err == nil {
			all = append(all, parseList(string(text))...)
		}
	}
	stanzas, _ := filepath.Glob(filepath.Join(folder, "sources.list.d", "*.sources"))
	for _, name := range stanzas {
		if text, err := os.ReadFile(name); err == nil {
			all = append(all, parseSources(string(text))...)
		}
	}
	slices.SortStableFunc(all, func(a, b aptSource) int { return cmp.Compare(b.rank(suite), a.rank(suite)) })
	var mirrors []string
	for _, s := range all {
		if s.rank(suite) == 0 {
			break
		}
		for _, uri := range expandMirror(s.uri) {
			if uri = strings.TrimRight(uri, "/"); !slices.Contains(mirrors, uri) {
				mirrors = append(mirrors, uri)
			}
		}
	}
	return mirrors[:min(len(mirrors), maxMirrors)]
}

// maxMirrors limits the mirrors that are tried for a package.
const maxMirrors = 4

// rank rates the likelihood that an archive is Debian's main one; 0 means no.
func (a aptSource) rank(suite string) int {
	if !slices.Contains(a.components, "main") || strings.Contains(a.suite, "security") || strings.Contains(a.suite, "/") {
		return 0
	}
	n := 0
	if strings.HasSuffix(strings.TrimRight(a.uri, "/"), "/debian") {
		n += 4
	}
	if strings.Contains(a.signedBy, "debian-archive") {
		n += 4
	}
	if a.suite == suite {
		n++
	}
	return n
}

// parseList reads the one-line form: deb [options] URI SUITE COMPONENT…
func parseList(text string) []aptSource {
	var all []aptSource
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, found := strings.CutPrefix(strings.TrimSpace(line), "deb")
		if !found || rest == "" || rest[0] != ' ' && rest[0] != '\t' && rest[0] != '[' {
			continue
		}
		var s aptSource
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") {
			options, after, closed := strings.Cut(rest[1:], "]")
			if !closed {
				continue
			}
			for _, option := range strings.Fields(options) {
				if value, found := strings.CutPrefix(option, "signed-by="); found {
					s.signedBy = value
				}
			}
			rest = after
		}
		words := strings.Fields(rest)
		if len(words) < 2 {
			continue
		}
		s.uri, s.suite, s.components = words[0], words[1], words[2:]
		all = append(all, s)
	}
	return all
}

// parseSources reads the deb822 form, in which a paragraph names several archives.
func parseSources(text string) []aptSource {
	var all []aptSource
	for p := range parseParagraphs(text) {
		if p["Enabled"] == "no" || !slices.Contains(strings.Fields(p["Types"]), "deb") {
			continue
		}
		for _, uri := range strings.Fields(p["URIs"]) {
			for _, suite := range strings.Fields(p["Suites"]) {
				all = append(all, aptSource{uri, suite, strings.Fields(p["Components"]), p["Signed-By"]})
			}
		}
	}
	return all
}

// expandMirror reads the file of mirrors that Debian's cloud images name.
func expandMirror(uri string) []string {
	name, found := strings.CutPrefix(uri, "mirror+file:")
	if !found {
		return []string{uri}
	}
	text, err := os.ReadFile("/" + strings.TrimLeft(name, "/"))
	if err != nil {
		return nil
	}
	var uris []string
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 0 && !strings.HasPrefix(words[0], "#") {
			uris = append(uris, words[0])
		}
	}
	return uris
}
