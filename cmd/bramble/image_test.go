package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bramble/images"
	"bramble/node/config"
)

// A mistake that would stop every board from starting is reported before an image
// is made.
func TestShopFolder(t *testing.T) {
	dir := t.TempDir()
	settings := filepath.Join(dir, "bramble.toml")
	broken := filepath.Join(dir, "elsewhere", "catalogue.toml")
	for name, text := range map[string]string{
		settings: "[rack]\nkey = \"" + config.NewRackKey().Reveal() + "\"\n",
		broken:   "name = 1\n",
		filepath.Join(dir, "shop", "launch.toml"): "name = 2\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		shop, catalogue string
		want, wrong     string
	}{
		{"", "", filepath.Join(dir, "shop"), ""},
		{t.TempDir(), "", "*", ""},
		{filepath.Dir(broken), "", "", "elsewhere/catalogue.toml:1: name"},
		{filepath.Join(dir, "none"), "", "", "the shop's folder"},
		{"", filepath.Join(dir, "mine.toml"), "", `write catalogue = "shop/mine.toml"`},
		{"", filepath.Join(dir, "shop", "none.toml"), "", "reading the catalogue"},
		{"", filepath.Join(dir, "shop", "launch.toml"), "", "launch.toml:1: name"},
	}
	for _, tt := range tests {
		got, err := shopFolder(images.Options{Config: settings, Shop: tt.shop}, tt.catalogue)
		switch {
		case tt.wrong == "" && (err != nil || got != tt.want && tt.want != "*"):
			t.Errorf("--shop %q, catalogue %q: %q, %v", tt.shop, tt.catalogue, got, err)
		case tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)):
			t.Errorf("--shop %q, catalogue %q: %v, want %q", tt.shop, tt.catalogue, err, tt.wrong)
		}
	}
}
