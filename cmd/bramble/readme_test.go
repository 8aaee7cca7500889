package main

import (
	"os"
	"strings"
	"testing"
)

// README.md holds the help of all commands, so that it can be read without the
// program.
func TestReadmeHasTheCommands(t *testing.T) {
	const begin, end = "<!-- begin: bramble help --markdown -->\n", "<!-- end -->\n"
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(readme), begin)
	got, _, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("README.md has no part between %q and %q", begin, end)
	}
	if want := "\n" + markdownReference() + "\n"; got != want {
		t.Errorf("README.md is out of date: replace the part between its marks with the output of \"go run ./cmd/bramble help --markdown\"")
	}
}
