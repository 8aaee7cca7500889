package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// Every relative link in a document leads to a file that exists and, if it has a
// fragment, to a heading of that document.
func TestLinksOfDocumentsResolve(t *testing.T) {
	documents := readDocuments(t)
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for from, text := range documents {
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			target, fragment, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, ":") {
				continue
			}
			to := from
			if target != "" {
				to = filepath.Join(filepath.Dir(from), target)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s, which does not exist", from, match[1])
				continue
			}
			if fragment != "" && !headingAnchors(documents[to])[fragment] {
				t.Errorf("%s links to %s, which has no such heading", from, match[1])
			}
		}
	}
}

// A command in a document, in a comment or in .ci that names a test or a benchmark
// names one that exists: after a renaming it would run nothing, and pass.
func TestNamedTestsExist(t *testing.T) {
	files := readTree(t, func(p string) bool {
		return strings.HasSuffix(p, ".go") || strings.HasSuffix(p, ".md") || filepath.Base(filepath.Dir(p)) == ".ci"
	})
	var names []string
	declaration := regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`)
	for p, text := range files {
		if !strings.HasSuffix(p, "_test.go") {
			continue
		}
		for _, match := range declaration.FindAllStringSubmatch(text, -1) {
			names = append(names, match[1])
		}
	}
	if len(names) < 500 {
		t.Fatalf("only %d tests found under %s", len(names), root)
	}
	named := 0
	for _, match := range regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`").FindAllStringSubmatch(files[filepath.Join(root, ".github/SECURITY.md")], -1) {
		if named++; !slices.Contains(names, match[1]) {
			t.Errorf(".github/SECURITY.md names the test %s, and there is none: name there the one that shows the same now", match[1])
		}
	}
	if named < 60 {
		t.Errorf("only %d tests found in .github/SECURITY.md", named)
	}
	pattern := regexp.MustCompile("[`\\s]-(?:run|skip|bench) ('[^'\n]+'|[^\\s'`;),]+)")
	for from, text := range files {
		for _, match := range pattern.FindAllStringSubmatch(text, -1) {
			for name := range strings.SplitSeq(strings.Trim(match[1], "'"), "|") {
				name, _, _ = strings.Cut(name, "/")
				if name == "^$" || name == "." || name == "…" || strings.ContainsAny(name, "$\"\\") && !strings.HasSuffix(name, "$") {
					continue
				}
				matcher, err := regexp.Compile(name)
				if err != nil || !slices.ContainsFunc(names, matcher.MatchString) {
					t.Errorf("%s names the test %q, and there is none", from, name)
				}
			}
		}
	}
}

// The commands in the guides exist, and so do their flags.
func TestCommandsInDocumentsExist(t *testing.T) {
	command := regexp.MustCompile("bramble(?:\\.exe)? ([a-z-]+)((?: [^`|#\n]*)?)")
	flag := regexp.MustCompile(`(?:^| )(--[a-z-]+)`)
	found := 0
	for from, text := range readDocuments(t) {
		for line := range strings.Lines(text) {
			// Prose also has "bramble" before other words: only code counts.
			if !strings.HasPrefix(line, "    ") && !strings.Contains(line, "`") {
				continue
			}
			for _, match := range command.FindAllStringSubmatch(line, -1) {
				c, err := findCommand(match[1])
				if err != nil {
					continue // a word after the name of the project
				}
				found++
				for _, one := range flag.FindAllStringSubmatch(match[2], -1) {
					if help := c.helpText(); one[1] != "--help" && !strings.Contains(help, "  "+one[1]) {
						t.Errorf("%s: bramble %s has no flag %s:\n%s", from, c.name, one[1], line)
					}
				}
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d commands found in the documents", found)
	}
}

// The metrics in the guides are those that a board exposes.
func TestMetricsInDocumentsExist(t *testing.T) {
	source, err := os.ReadFile(filepath.Join(root, "node/metrics.go"))
	if err != nil {
		t.Fatal(err)
	}
	metric := regexp.MustCompile(`bramble_[a-z0-9_]+`)
	found := 0
	for from, text := range readDocuments(t) {
		if strings.HasSuffix(from, "CHANGELOG.md") {
			continue // it lists the names of before
		}
		for _, name := range metric.FindAllString(text, -1) {
			found++
			if !strings.Contains(string(source), `"`+name) {
				t.Errorf("%s names the metric %s, which node/metrics.go does not have", from, name)
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d metrics found in the documents", found)
	}
}

// readDocuments returns the text of every Markdown file by its path.
func readDocuments(t *testing.T) map[string]string {
	t.Helper()
	documents := readTree(t, func(p string) bool { return strings.HasSuffix(p, ".md") })
	if len(documents) < 15 {
		t.Fatalf("only %d documents found under %s", len(documents), root)
	}
	return documents
}

// readTree returns the text of every wanted file by its path.
func readTree(t *testing.T, wanted func(path string) bool) map[string]string {
	t.Helper()
	texts := map[string]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == ".git" || d.Name() == "node_modules" || d.Name() == "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		if !wanted(p) {
			return nil
		}
		text, err := os.ReadFile(p)
		texts[filepath.Clean(p)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// headingAnchors returns the anchors that a document's headings get from common
// Markdown renderers: lower case, blanks as dashes, punctuation dropped.
func headingAnchors(document string) map[string]bool {
	anchors := map[string]bool{}
	inCode := false
	for line := range strings.Lines(document) {
		if strings.HasPrefix(line, "```") {
			inCode = !inCode
		}
		if inCode || !strings.HasPrefix(line, "#") {
			continue
		}
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(strings.TrimLeft(line, "#")))
		anchors[anchor] = true
	}
	return anchors
}
