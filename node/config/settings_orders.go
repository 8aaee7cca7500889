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
			doc: "Whether the built-in shop accepts orders. If not, the shop only shows its products, and nothing is written to the card.",
			at:  func(c *Config) any { return &c.Orders.Enabled },
		}, {
			table: "orders", key: "directory",
			doc: "Directory of this board's part of the ledger; a relative path starts at the directory of bramble.toml. " +
				"It is created if it does not exist. It must be on a disk that does not lose synced data.",
			at:    func(c *Config) any { return &c.Orders.Directory },
			check: func(c *Config) string { return checkFolder(c.Orders.Directory) },
		}, {
			table: "orders", key: "retention",
			doc: "Time that names and addresses are stored after the last change of an order, 1h to 87600h; then they are erased. " +
				"180 days cover complaints and returns. A change holds for products offered later; for others \"bramble sale revise\" takes it over.",
			at:    func(c *Config) any { return &c.Orders.Retention },
			check: func(c *Config) string { return checkDuration(c.Orders.Retention, time.Hour, 87600*time.Hour) },
		}, {
			table: "orders", key: "public_url", defaultText: `"", no links in mail`,
			doc:   `URL at which buyers reach the shop, such as "https://shop.example", for the links in mail and webhooks.`,
			at:    func(c *Config) any { return &c.Orders.PublicURL },
			check: func(c *Config) string { return checkOrigin(c.Orders.PublicURL) },
		}, {
			table: "webhook", key: "url", defaultText: `"", none`,
			doc: "URL to which every order is posted when its fulfilment begins. If it is added later, orders from then on are posted; " +
				"\"bramble sale fulfil\" posts those from before.",
			at:    func(c *Config) any { return &c.Webhook.URL },
			check: func(c *Config) string { return checkHook(c) },
		}, {
			table: "webhook", key: "secret", defaultText: `""`, secret: true,
			doc: `Secret that signs the posts: "whsec_" and 24 to 64 bytes in base64. The receiver has the same.`,
			at:  func(c *Config) any { return &c.Webhook.Secret },
		}, {
			table: "webhook", key: "timeout",
			doc:   "Time that the receiver has to answer, 1s to 1m.",
			at:    func(c *Config) any { return &c.Webhook.Timeout },
			check: func(c *Config) string { return checkDuration(c.Webhook.Timeout, time.Second, time.Minute) },
		}, {
			table: "mail", key: "server", defaultText: `"", no mail`,
			doc:   "SMTP server, host:port; 587 with starttls and 465 with tls are usual. If it is added later, buyers get mail from then on.",
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
			doc: "Password at the server; it is sent only inside TLS.",
			at:  func(c *Config) any { return &c.Mail.Password },
		}, {
			table: "mail", key: "tls",
			doc: "How the connection is secured: starttls, tls (from the first byte), or none. " +
				"none shows names and addresses to the network in between; use it only for a server on this machine.",
			at:    func(c *Config) any { return &c.Mail.TLS },
			check: func(c *Config) string { return checkOneOf(c.Mail.TLS, "starttls", "tls", "none") },
		}, {
			table: "mail", key: "timeout",
			doc:   "Time that one mail may take, 1s to 5m.",
			at:    func(c *Config) any { return &c.Mail.Timeout },
			check: func(c *Config) string { return checkDuration(c.Mail.Timeout, time.Second, 5*time.Minute) },
		},
	}
}

func checkFolder(s string) string {
	if s == "" {
		return `the ledger needs a directory; write one such as "ledger"`
	}
	return ""
}

func checkHook(c *Config) string {
	if c.Webhook.URL == "" {
		return ""
	}
	u, err := url.Parse(c.Webhook.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || !validHost(u.Hostname(), false) || u.User != nil || u.Fragment != "" {
		return quote(c.Webhook.URL) + ` is not the URL of a program; write one such as "https://warehouse.example/orders"`
	}
	if c.Webhook.Secret == "" {
		return `without a secret anyone could send such a webhook; add secret = "whsec_…" with 24 to 64 random bytes in base64`
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
		return "a password is not sent without TLS; set tls to \"starttls\" or \"tls\", or remove user"
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
