package main

import (
	"go/ast"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// The rules for names. CONTRIBUTING.md gives the reasons, ARCHITECTURE.md has
// the glossary.

const (
	architecture = ".github/ARCHITECTURE.md"

	// maxSingleWord is the largest share, in tenths of a percent, of functions
	// and methods that have an unexported name of a single word. A single word
	// rarely says what the function acts on: name it verb + object, unless its
	// receiver makes the object obvious. Lower this figure when the share falls.
	maxSingleWord = 70

	// maxSharedTypes bounds the list of type names that several packages may
	// declare.
	maxSharedTypes = 25
)

// sharedTypes lists the type names that more than one package may declare: for
// these the package's name says which one is meant. Every other type name has
// one declaration in the whole module.
func sharedTypes() []string {
	return []string{
		"Config",
		"Error",
		"Event",
		"Kind",
		"Options",
		"State",
		"Stats",
		"Status",
		"entry",
		"store",
	}
}

func TestTypeNamesAreDeclaredOnce(t *testing.T) {
	declaredIn := map[string][]string{}
	for _, f := range sources(t) {
		from := path.Dir(f.path)
		for _, decl := range f.syntax.Decls {
			d, ok := decl.(*ast.GenDecl)
			if !ok || d.Tok != token.TYPE {
				continue
			}
			for _, spec := range d.Specs {
				name := spec.(*ast.TypeSpec).Name.Name
				if !slices.Contains(declaredIn[name], from) {
					declaredIn[name] = append(declaredIn[name], from)
				}
			}
		}
	}
	shared := sharedTypes()
	if len(shared) > maxSharedTypes {
		t.Errorf("%d type names may be shared; %d are the most", len(shared), maxSharedTypes)
	}
	for name, packages := range declaredIn {
		if len(packages) > 1 && !slices.Contains(shared, name) {
			t.Errorf("type %s is declared in %v: qualify all but one of them", name, packages)
		}
	}
	for _, name := range shared {
		if len(declaredIn[name]) < 2 {
			t.Errorf("type %s need not be in the list of shared names any more: it is declared in %v", name, declaredIn[name])
		}
	}
}

func TestFunctionNamesHaveAnObject(t *testing.T) {
	functions, singleWord := 0, 0
	for _, f := range sources(t) {
		for _, decl := range f.syntax.Decls {
			d, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			functions++
			if !d.Name.IsExported() && !strings.ContainsFunc(d.Name.Name, unicode.IsUpper) {
				singleWord++
			}
		}
	}
	share := singleWord * 1000 / functions
	t.Logf("%d of %d functions have an unexported name of a single word: %d.%d %%", singleWord, functions, share/10, share%10)
	if share > maxSingleWord {
		t.Errorf("%d.%d %% of all functions have an unexported name of a single word; %d.%d %% are the most: name new functions verb + object",
			share/10, share%10, maxSingleWord/10, maxSingleWord%10)
	}
	if share < maxSingleWord-5 {
		t.Errorf("the share of single-word names has fallen to %d.%d %%: lower maxSingleWord to %d", share/10, share%10, share)
	}
}

// The terms in the glossary are those that the code uses.
func TestGlossaryTermsOccurInTheCode(t *testing.T) {
	var code strings.Builder
	for _, f := range sources(t) {
		code.WriteString(foldText(f.text))
	}
	terms := tableColumn(t, "## Glossary")
	if len(terms) < 60 {
		t.Fatalf("only %d terms found in the glossary of %s", len(terms), architecture)
	}
	for _, term := range terms {
		if !strings.Contains(code.String(), foldText(term)) {
			t.Errorf("the glossary has %q, and the code never uses it", term)
		}
	}
}

// The words that the glossary replaced do not come back as names.
func TestAbolishedWordsDoNotReturn(t *testing.T) {
	abolished := tableColumn(t, "## Words that are gone")
	if len(abolished) < 20 {
		t.Fatalf("only %d words found under \"Words that are gone\" in %s", len(abolished), architecture)
	}
	for _, f := range sources(t) {
		if dir := path.Dir(f.path); slices.Contains(abolished, path.Base(dir)) {
			t.Errorf("package %s has an abolished name", dir)
		}
		check := func(name *ast.Ident) {
			for _, word := range camelWords(name.Name) {
				if slices.Contains(abolished, word) {
					t.Errorf("%s: %s uses %q, which the glossary has replaced", f.set.Position(name.Pos()), name.Name, word)
				}
			}
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch d := n.(type) {
			case *ast.FuncDecl:
				check(d.Name)
			case *ast.TypeSpec:
				check(d.Name)
			case *ast.ValueSpec:
				for _, name := range d.Names {
					check(name)
				}
			case *ast.StructType:
				for _, field := range d.Fields.List {
					for _, name := range field.Names {
						check(name)
					}
				}
			case *ast.InterfaceType:
				for _, method := range d.Methods.List {
					for _, name := range method.Names {
						check(name)
					}
				}
			}
			return true
		})
	}
}

// A receiver is named for its type: by its initial, or by a word of its name.
func TestReceiversAreNamedForTheirTypes(t *testing.T) {
	for _, f := range sources(t) {
		for _, decl := range f.syntax.Decls {
			d, ok := decl.(*ast.FuncDecl)
			if !ok || d.Recv == nil || len(d.Recv.List[0].Names) == 0 {
				continue
			}
			typeName, receiver := receiverType(d.Recv), d.Recv.List[0].Names[0].Name
			if receiver == "_" {
				continue
			}
			named := slices.ContainsFunc(camelWords(typeName), func(word string) bool {
				return strings.HasPrefix(word, strings.ToLower(receiver[:1]))
			})
			if !named {
				t.Errorf("%s: the receiver of %s is called %s, which stands for no word of its type's name", f.set.Position(d.Pos()), typeName, receiver)
			}
		}
	}
}

// Comments and documents avoid the phrases that made them hard to read.
func TestPlainEnglish(t *testing.T) {
	phrases := regexp.MustCompile(`(?i)\b(whoever|anew|mend|mended|so many|is to be|are to be|is how (many|much|long|often|far)|is under what|of whom)\b`)
	for _, f := range sources(t) {
		for _, group := range f.syntax.Comments {
			for _, line := range group.List {
				if found := phrases.FindString(line.Text); found != "" {
					t.Errorf("%s: %q: put it plainly, as in limits, is the number of, must, again, fix", f.set.Position(line.Pos()), found)
				}
			}
		}
	}
	for name, text := range readDocuments(t) {
		if name == filepath.Join(root, architecture) {
			continue // it lists the words that are gone
		}
		for line := range strings.Lines(text) {
			if found := phrases.FindString(line); found != "" {
				t.Errorf("%s: %q in: %s", name, found, line)
			}
		}
	}
}

// tableColumn returns the comma-separated entries of the first column of the
// tables in a section of ARCHITECTURE.md, its subsections included.
func tableColumn(t *testing.T, heading string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, architecture))
	if err != nil {
		t.Fatal(err)
	}
	var entries []string
	inside := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if level := len(line) - len(strings.TrimLeft(line, "#")); level > 0 {
			inside = line == heading || inside && level > strings.LastIndex(heading, "#")+1
			continue
		}
		first, isRow := strings.CutPrefix(line, "| ")
		if !inside || !isRow || strings.HasPrefix(first, "---") {
			continue
		}
		first, _, _ = strings.Cut(first, " |")
		for entry := range strings.SplitSeq(first, ",") {
			if entry = strings.Trim(entry, " *`"); entry != "" && entry != "term" && entry != "word" {
				entries = append(entries, entry)
			}
		}
	}
	return entries
}

// camelWords splits an identifier into its words, in lower case: netHTTPListener
// is net, http and listener.
func camelWords(name string) []string {
	runes := []rune(name)
	var words []string
	start := 0
	for i := 1; i < len(runes); i++ {
		beginsWord := unicode.IsUpper(runes[i]) &&
			(!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
		if beginsWord {
			words = append(words, strings.ToLower(string(runes[start:i])))
			start = i
		}
	}
	return append(words, strings.ToLower(string(runes[start:])))
}

// foldText lowers text and drops everything but letters and digits, so that
// "event loop" is found in eventLoop, in event_loop and across a line break of
// a comment.
func foldText(text string) string {
	return strings.Map(func(r rune) rune {
		if r = unicode.ToLower(r); unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, text)
}
