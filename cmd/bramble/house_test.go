package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The rules of the house, held by tests: which packages there are, which may
// import which, and what no file may do.

const (
	root   = "../.."
	module = "bramble"
	// longest is the largest number of lines in a file of the program: what a
	// reader takes in without losing the thread.
	longest = 450
)

// mayImport lists, for each package, the packages of this module that it may
// import. Imports go down only.
func mayImport() map[string][]string {
	return map[string][]string{
		"cmd/bramble": {
			"cluster/durable",
			"cluster/ledger",
			"gpio",
			"images",
			"images/cardinit",
			"images/release",
			"node",
			"node/backup",
			"node/certs",
			"node/config",
			"node/console",
			"node/console/client",
			"node/orderservice",
			"node/lab",
			"node/orders/draw",
			"node/origin",
			"node/rollout",
			"node/shop",
			"node/sockets",
		},
		"node/lab": {
			"cluster/durable",
			"gpio",
			"node/certs",
			"node/config",
			"node/console",
			"node/console/client",
		},
		"node": {
			"cache",
			"cluster",
			"cluster/ledger",
			"cluster/link",
			"cluster/logdedup",
			"cluster/purge",
			"gpio",
			"gpio/pins",
			"node/backup",
			"node/certs",
			"node/config",
			"node/console",
			"node/orderservice",
			"node/front",
			"node/front/admission",
			"node/fulfilment",
			"node/host",
			"node/orders",
			"node/origin",
			"node/rackcache",
			"node/shop",
			"node/sockets",
		},
		"node/backup":                {"cluster/durable", "node/orders"},
		"node/orderservice":          {"cluster/ledger", "node/backup", "node/fulfilment", "node/orders", "node/orders/draw"},
		"node/fulfilment":            {"node/orders"},
		"node/orders":                {"node/orders/draw"},
		"node/orders/draw":           nil,
		"node/orders/orderstest":     nil,
		"node/console":               {"gpio", "node/proxyfields"},
		"node/console/consoletest":   {"gpio", "node/console"},
		"node/console/client":        {"node/certs", "node/console"},
		"node/front":                 {"node/front/admission", "node/front/http1"},
		"node/front/admission":       {"cache/fairshare"},
		"node/front/http1":           nil,
		"node/front/http1/http1test": nil,
		"node/origin":                {"cache/fairshare", "node/config", "node/proxyfields"},
		"node/proxyfields":           nil,
		"node/shop":                  {"node/orders", "node/orders/draw", "node/tomlfile"},
		"node/shop/shoptest":         nil,
		"node/tomlfile":              nil,
		"node/sockets":               nil,
		"node/sockets/socketstest":   nil,
		"node/certs":                 {"cluster/durable"},
		"node/config":                {"node/tomlfile"},
		"node/rackcache":             {"cache", "cluster/link", "cluster/purge", "node/front", "node/origin"},
		"node/host":                  nil,
		"node/rollout":               nil,
		"cluster":                    {"cluster/logdedup", "cluster/unproven"},
		"cluster/link":               {"cluster/unproven"},
		"cluster/unproven":           nil,
		"cluster/logdedup":           nil,
		"cluster/purge":              {"cluster/link"},
		"cluster/ledger":             {"cluster/durable"},
		"cluster/durable":            nil,
		"cluster/ledger/ledgertest":  {"cluster/ledger"},
		"cache":                      {"cache/evict", "cache/fairshare"},
		"cache/fairshare":            nil,
		"cache/evict":                nil,
		"gpio/gpiotest":              {"gpio"},
		"gpio/pins":                  {"gpio"},
		"gpio/pins/pinstest":         nil,
		"images/cardinit":            nil,
		"images/release":             {"images/cardinit"},
		"gpio":                       nil,
		"images":                     {"images/cardinit", "images/release"},
	}
}

// sourceFile is one parsed file, without its tests.
type sourceFile struct {
	path   string // from the root, with slashes
	syntax *ast.File
	set    *token.FileSet
	text   string
}

func sources(t *testing.T) []sourceFile {
	t.Helper()
	var files []sourceFile
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && p != root {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		syntax, err := parser.ParseFile(set, p, text, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		files = append(files, sourceFile{filepath.ToSlash(rel), syntax, set, string(text)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("only %d files found under %s", len(files), root)
	}
	return files
}

func TestTopLevel(t *testing.T) {
	allowed := []string{"README.md", "cache", "cluster", "cmd", "go.mod", "go.sum", "gpio", "images", "node"}
	ignored, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	isIgnored := func(name string) bool {
		for line := range strings.Lines(string(ignored)) {
			pattern := strings.Trim(strings.TrimSpace(line), "/")
			if matches, err := path.Match(pattern, name); err == nil && matches {
				return true
			}
		}
		return false
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name := e.Name(); !strings.HasPrefix(name, ".") && !slices.Contains(allowed, name) && !isIgnored(name) {
			t.Errorf("%s does not belong at the top: there are only %v", name, allowed)
		}
	}
}

func TestImportsGoDownOnly(t *testing.T) {
	rules := mayImport()
	seen := map[string]bool{}
	for _, f := range sources(t) {
		from := path.Dir(f.path)
		allowed, known := rules[from]
		if !known {
			t.Errorf("%s: package %s is not in the house's plan; add it to mayImport if it belongs", f.path, from)
			continue
		}
		seen[from] = true
		for _, spec := range f.syntax.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			to, ours := strings.CutPrefix(name, module+"/")
			if ours && !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s, and %s may import only %v", f.path, to, from, allowed)
			}
		}
	}
	for from := range maps.Keys(rules) {
		if !seen[from] {
			t.Errorf("the plan has a package %s that is not there", from)
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	says := map[string]string{}
	for _, f := range sources(t) {
		if f.syntax.Doc != nil {
			says[path.Dir(f.path)] += f.syntax.Doc.Text()
		} else if _, known := says[path.Dir(f.path)]; !known {
			says[path.Dir(f.path)] = ""
		}
	}
	for name, doc := range says {
		if len(strings.Fields(doc)) < 15 {
			t.Errorf("package %s has no comment that states its idea: %q", name, doc)
		}
	}
}

func TestExportedThingsAreDocumented(t *testing.T) {
	for _, f := range sources(t) {
		for _, decl := range f.syntax.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && (d.Recv == nil || ast.IsExported(receiverType(d.Recv))) && !selfEvident(d.Name.Name) {
					t.Errorf("%s: %s has no comment", f.set.Position(d.Pos()), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if ts, ok := spec.(*ast.TypeSpec); ok && ts.Name.IsExported() && d.Doc == nil && ts.Doc == nil {
						t.Errorf("%s: type %s has no comment", f.set.Position(ts.Pos()), ts.Name.Name)
					}
				}
			}
		}
	}
}

// receiverType returns the name of a method's type.
func receiverType(receiver *ast.FieldList) string {
	of := receiver.List[0].Type
	if star, isPointer := of.(*ast.StarExpr); isPointer {
		of = star.X
	}
	switch generic := of.(type) {
	case *ast.IndexExpr:
		of = generic.X
	case *ast.IndexListExpr:
		of = generic.X
	}
	return of.(*ast.Ident).Name
}

// selfEvident methods do what the interface that they are for says.
func selfEvident(name string) bool {
	return slices.Contains([]string{"String", "Error", "Unwrap", "MarshalText", "Write", "Read", "Close"}, name)
}

// A variable of a package is state that nobody owns. What is allowed: errors to
// be compared with, embedded files, and names in a fixed table.
func TestNoGlobalsAndNoInit(t *testing.T) {
	for _, f := range sources(t) {
		for _, decl := range f.syntax.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					t.Errorf("%s: no init functions", f.set.Position(d.Pos()))
				}
			case *ast.GenDecl:
				if d.Tok == token.VAR && !embeds(d) {
					for _, spec := range d.Specs {
						v := spec.(*ast.ValueSpec)
						if !constantLike(v) && (f.path != "cmd/bramble/version.go" || v.Names[0].Name != "build") { // that one is the linker's
							t.Errorf("%s: variable %s belongs to nobody", f.set.Position(v.Pos()), v.Names[0].Name)
						}
					}
				}
			}
		}
	}
}

func embeds(d *ast.GenDecl) bool {
	embedded := func(c *ast.CommentGroup) bool {
		return c != nil && strings.Contains(c.List[len(c.List)-1].Text, "//go:embed ")
	}
	for _, spec := range d.Specs {
		if embedded(spec.(*ast.ValueSpec).Doc) {
			return true
		}
	}
	return embedded(d.Doc)
}

// constantLike: var _ Interface = ..., an error made by errors.New, or a table
// of constants in an array.
func constantLike(v *ast.ValueSpec) bool {
	if v.Names[0].Name == "_" {
		return true
	}
	for _, value := range v.Values {
		switch e := value.(type) {
		case *ast.CallExpr:
			fun, ok := e.Fun.(*ast.SelectorExpr)
			if !ok || fun.Sel.Name != "New" && fun.Sel.Name != "Errorf" {
				return false
			}
			if from, ok := fun.X.(*ast.Ident); !ok || from.Name != "errors" && from.Name != "fmt" {
				return false
			}
		case *ast.CompositeLit:
			if _, array := e.Type.(*ast.ArrayType); !array {
				return false
			}
		default:
			return false
		}
	}
	return len(v.Values) > 0
}

// 32-bit ARM traps on a 64-bit atomic that is not aligned to eight bytes; the
// types of sync/atomic are, plain fields may not be.
func TestNoUnalignedAtomics(t *testing.T) {
	for _, f := range sources(t) {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if from, ok := call.X.(*ast.Ident); ok && from.Name == "atomic" && strings.HasSuffix(call.Sel.Name, "64") &&
				call.Sel.Name != "Int64" && call.Sel.Name != "Uint64" {
				t.Errorf("%s: use atomic.Int64 or atomic.Uint64 instead of %s", f.set.Position(call.Pos()), call.Sel.Name)
			}
			return true
		})
	}
}

func TestNoFileIsTooLong(t *testing.T) {
	for _, f := range sources(t) {
		if lines := strings.Count(f.text, "\n"); lines > longest {
			t.Errorf("%s has %d lines; %d are the most that a reader should scroll", f.path, lines, longest)
		}
	}
}

// Each direct dependency has a line in ARCHITECTURE.md that gives the reason.
func TestDependenciesHaveReasons(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile(filepath.Join(root, architecture))
	if err != nil {
		t.Fatal(err)
	}
	direct := 0
	for line := range strings.Lines(string(mod)) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) < 2 || !strings.Contains(fields[0], ".") || strings.Contains(line, "// indirect") {
			continue
		}
		direct++
		if !strings.Contains(string(table), "| `"+fields[0]+"` |") {
			t.Errorf("the table of dependencies in %s has no line for %s", architecture, fields[0])
		}
	}
	if direct == 0 {
		t.Error("no direct dependency found in go.mod")
	}
}
