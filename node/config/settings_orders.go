package config

import (
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"time"
)

// orderKeys are the keys of [orders], [webhook] and [mail].
func orderKeys() []keySpec {
	return []keySpec{
		{
			table: "orders", key: "enabled",
			doc: "Whether the built-in shop takes orders. Without it the shop only shows, and nothing is written to the card.",
			at:  func(c *Config) any { return &c.Orders.Enabled },
		}, {
			table: "orders", key: "directory",
			doc: "Folder of this board's part of the ledger; a relative path starts at the folder of bramble.toml. " +
				"It is made if it is not there, and must be on a disk that keeps what was synced.",
			at:    func(c *Config) any { return &c.Orders.Directory },
			check: func(c *Config) string { return checkFolder(c.Orders.Directory) },
		}, {
			table: "orders", key: "retention",
			doc: "How long names and addresses are kept after the last change of an order, 1h to 87600h; then they are erased. " +
				"180 days cover complaints and returns.",
			at:    func(c *Config) any { return &c.Orders.Retention },
			check: func(c *Config) string { return checkDuration(c.Orders.Retention, time.Hour, 87600*time.Hour) },
		}, {
			table: "orders", key: "public_url", defaultText: `"", no links in mail`,
			doc:   `Where buyers reach the shop, such as "https://shop.example": for the links in mail and webhooks.`,
			at:    func(c *Config) any { return &c.Orders.PublicURL },
			check: func(c *Config) string { return checkOrigin(c.Orders.PublicURL) },
		}, {
			table: "webhook", key: "url", defaultText: `"", nobody`,
			doc:   "URL that every order is posted to when it is handed over.",
			at:    func(c *Config) any { return &c.Webhook.URL },
			check: func(c *Config) string { return checkHook(c) },
		}, {
			table: "webhook", key: "secret", defaultText: `""`, secret: true,
			doc: `What the posts are signed with: "whsec_" and 24 to 64 bytes in base64. The receiver has the same.`,
			at:  func(c *Config) any { return &c.Webhook.Secret },
		}, {
			table: "webhook", key: "timeout",
			doc:   "How long the receiver may take to answer, 1s to 1m.",
			at:    func(c *Config) any { return &c.Webhook.Timeout },
			check: func(c *Config) string { return checkDuration(c.Webhook.Timeout, time.Second, time.Minute) },
		}, {
			table: "mail", key: "server", defaultText: `"", no mail`,
			doc:   "SMTP server, host:port; 587 with starttls and 465 with tls are usual.",
			at:    func(c *Config) any { return &c.Mail.Server },
			check: func(c *Config) string { return checkMail(c) },
		}, {
			table: "mail", key: "from", defaultText: `"", the seller's address in the catalogue`,
			doc:   `Sender of the mail, such as "Shop <shop@shop.example>".`,
			at:    func(c *Config) any { return &c.Mail.From },
			check: func(c *Config) string { return checkSender(c.Mail.From) },
		}, {
			table: "mail", key: "user", defaultText: `"", no login`,
			doc: "User name at the server.",
			at:  func(c *Config) any { return &c.Mail.User },
		}, {
			table: "mail", key: "password", defaultText: `""`, secret: true,
			doc: "Password at the server; it is sent inside TLS only.",
			at:  func(c *Config) any { return &c.Mail.Password },
		}, {
			table: "mail", key: "tls",
			doc: "How the connection is secured: starttls, tls from the first byte, or none. " +
				"none shows names and addresses to the network between; only for a server on this machine.",
			at:    func(c *Config) any { return &c.Mail.TLS },
			check: func(c *Config) string { return checkOneOf(c.Mail.TLS, "starttls", "tls", "none") },
		}, {
			table: "mail", key: "timeout",
			doc:   "How long one mail may take, 1s to 5m.",
			at:    func(c *Config) any { return &c.Mail.Timeout },
			check: func(c *Config) string { return checkDuration(c.Mail.Timeout, time.Second, 5*time.Minute) },
		},
	}
}

func checkFolder(s string) string {
	if s == "" {
		return `the ledger needs a folder; write one such as "ledger"`
	}
	return ""
}

func checkHook(c *Config) string {
	if c.Webhook.URL == "" {
		return ""
	}
	u, err := url.Parse(c.Webhook.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || !validHost(u.Hostname(), false) || u.User != nil || u.Fragment != "" {
		return quote(c.Webhook.URL) + ` is not the address of a program; write one such as "https://warehouse.example/orders"`
	}
	if c.Webhook.Secret == "" {
		return `a webhook without a secret could be from anybody; add secret = "whsec_…" with 24 to 64 random bytes in base64`
	}
	return ""
}

func checkMail(c *Config) string {
	if c.Mail.Server == "" {
		return ""
	}
	host, port, err := net.SplitHostPort(c.Mail.Server)
	if err != nil || !validHost(host, false) || !validPort(port) || port == "0" {
		return quote(c.Mail.Server) + ` is not host:port; write one such as "mail.example:587"`
	}
	if c.Mail.User != "" && c.Mail.TLS == "none" {
		return "a password is not sent without TLS; set tls to \"starttls\" or \"tls\", or take the user out"
	}
	return ""
}

func checkSender(s string) string {
	if s == "" {
		return ""
	}
	if _, err := mail.ParseAddress(s); err != nil {
		return fmt.Sprintf("%s is not a mail address; write one such as \"Shop <shop@shop.example>\"", quote(s))
	}
	return ""
}
