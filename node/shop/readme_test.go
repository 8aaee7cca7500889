package shop

import (
	"os"
	"strings"
	"testing"
)

// README.md explains every key of the catalogue.
func TestReadmeHasTheCataloguesKeys(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "## The catalogue's keys")
	if !found {
		t.Fatal("README.md has no section on the catalogue's keys")
	}
	keys := 0
	for _, of := range []string{"", "seller", "shipping", "announcement", "product", "product.specification"} {
		for key := range strings.SplitSeq(knownKeys(of), ", ") {
			keys++
			if !strings.Contains(table, "`"+key+"`") {
				t.Errorf("README.md does not explain the key %s of [%s]", key, of)
			}
		}
	}
	if keys < 30 {
		t.Errorf("only %d keys found", keys)
	}
}
