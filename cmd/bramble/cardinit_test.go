package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bramble/images/cardinit"
	"bramble/node/config"
	"bramble/node/shop/shoptest"
)

func TestCardSettings(t *testing.T) {
	dir := t.TempDir()
	p := cardinit.Paths{Boot: filepath.Join(dir, "boot"), Data: filepath.Join(dir, "data")}
	key := config.NewRackKey().Reveal()
	read := func(text, serial string) (cardinit.CardSettings, error) {
		t.Helper()
		writeTestFile(t, p.SettingsFile(), []byte(text))
		return cardSettings(p, p.SettingsFile(), serial)
	}
	good := "[rack]\nkey = \"" + key + "\"\n[console]\nlisten = \":9090\"\n[cards.1a2b.network]\naddress = \"10.0.0.2/24\"\ngateway = \"10.0.0.1\"\ndns = [\"10.0.0.3\"]\nntp = [\"10.0.0.4\"]\n"
	s, err := read(good, "000000001a2b")
	if err != nil {
		t.Fatal(err)
	}
	if s.HostName != "bramble-1a2b" || s.Board != "bramble-1a2b" || s.Address.String() != "10.0.0.2/24" || s.Gateway.String() != "10.0.0.1" ||
		len(s.DNS) != 1 || len(s.NTP) != 1 || s.HealthURL != "https://127.0.0.1:9090/healthz" || s.Port != 80 {
		t.Errorf("the settings are %+v", s)
	}
	cfg, err := config.Parse("resolved.toml", s.ProgramConfig)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Orders.Directory != filepath.Join(p.Data, "ledger") || cfg.Board.Name != "bramble-1a2b" || cfg.Rack.Key.Reveal() != key || cfg.Shop.Catalogue != "" {
		t.Errorf("the board's program gets orders in %s, name %s, catalogue %q", cfg.Orders.Directory, cfg.Board.Name, cfg.Shop.Catalogue)
	}
	own := filepath.Join(p.Boot, "shop", "catalogue.toml")
	writeTestFile(t, own, []byte("[[product]]\nslug = 5\n"))
	var broken *cardinit.SettingsError
	if s, err = read(good, "1a2b"); !errors.As(err, &broken) || !strings.Contains(err.Error(), "slug") || s.HostName != "bramble-1a2b" {
		t.Errorf("a broken catalogue is told as %v, with %+v", err, s)
	}
	if _, err = read(good+"[origin]\nurl = \"http://10.0.0.9\"\n", "1a2b"); err != nil {
		t.Errorf("a broken catalogue that nobody reads: %v", err)
	}
	writeTestFile(t, own, []byte(shoptest.Catalogue("stock = 10\nlimit_per_person = 1\nlimit_by_address = false\n")))
	s, err = read(good+"[network]\nhostname = \"shop\"\n[board]\nname = \"till\"\n", "ffff")
	if err != nil || s.HostName != "shop" || s.Board != "till" || s.Address.IsValid() {
		t.Errorf("another card has %+v, %v", s, err)
	}
	if cfg, err = config.Parse("resolved.toml", s.ProgramConfig); err != nil || cfg.Shop.Catalogue != own {
		t.Errorf("the catalogue on the card is not taken: %v, %v", cfg, err)
	}

	s, err = read(strings.Replace(good, "key =", "kee =", 1), "1a2b")
	if !errors.As(err, &broken) || len(broken.Mistakes) != 2 || broken.Mistakes[1].Line != 2 ||
		broken.Mistakes[1].Text != `bramble.toml: [rack] kee: unknown key; did you mean "key"?` {
		t.Errorf("a mistake is told as %v", err)
	}
	if s.Address.String() != "10.0.0.2/24" || s.HostName != "bramble-1a2b" {
		t.Errorf("with a mistake elsewhere the network is %+v", s)
	}
	_, err = read("[rack]\nkey = \""+key+"\n", "1a2b")
	if !errors.As(err, &broken) || broken.Mistakes[0].Line != 2 || broken.Mistakes[0].Column == 0 || strings.Contains(err.Error(), key[4:12]) {
		t.Errorf("no TOML is told as %v", err)
	}
	if err := os.Remove(p.SettingsFile()); err != nil {
		t.Fatal(err)
	}
	if _, err = cardSettings(p, p.SettingsFile(), "1a2b"); !errors.As(err, &broken) || !strings.Contains(err.Error(), "there is no such file") {
		t.Errorf("no file is told as %v", err)
	}
}

func TestCardInitIsForCards(t *testing.T) {
	if cardinit.OnCard(cardinit.CardPaths()) {
		t.Skip("this machine was started from a card")
	}
	var out strings.Builder
	w := world{out: &out, err: &out, getenv: func(string) string { return "" }}
	if code := runCommand(t.Context(), []string{"card-init"}, w); code != exitUsage || !strings.Contains(out.String(), "was not started from the card image") {
		t.Errorf("it ends with %d and says %s", code, out.String())
	}
}

func TestConfigAsACardHasIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bramble.toml")
	writeTestFile(t, file, []byte("[cards.1a2b.board]\nweight = 400\n"))
	for serial, want := range map[string]string{"00001A2B": "weight = 400", "ffff": "weight = 100"} {
		var out strings.Builder
		w := world{out: &out, err: &out, getenv: func(string) string { return "" }}
		if code := runCommand(t.Context(), []string{"config", "--config", file, "--card", serial}, w); code != exitOK || !strings.Contains(out.String(), want) {
			t.Errorf("for %s it prints %q", serial, out.String())
		}
	}
}
