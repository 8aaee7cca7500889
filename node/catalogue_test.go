package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bramble/node/config"
	"bramble/node/shop/shoptest"
)

// A catalogue that wants confirmation by mail does not start without a mail that can have a link.
func TestConfirmNeedsMailWithALink(t *testing.T) {
	text := shoptest.Catalogue("stock = 5\nlimit_per_person = 1\n")
	for _, c := range []struct {
		confirm, server, url string
		starts               bool
	}{
		{`confirm = "30m"`, "mail.example:25", "https://shop.example", true},
		{`confirm = "30m"`, "", "https://shop.example", false},
		{`confirm = "30m"`, "mail.example:25", "", false},
		{`confirm = "off"`, "", "", true},
		{"", "", "", true},
		{"", "mail.example:25", "", true},
	} {
		cfg := config.Default()
		cfg.Shop.Catalogue, cfg.Mail.Server, cfg.Orders.PublicURL = filepath.Join(t.TempDir(), "shop.toml"), c.server, c.url
		if err := os.WriteFile(cfg.Shop.Catalogue, []byte(text+c.confirm), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := loadCatalogue(cfg)
		if (err == nil) != c.starts || err != nil && !strings.Contains(err.Error(), "set [mail] server and [orders] public_url") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
