package config

import (
	"net"
	"net/mail"
	"net/url"
	"time"
)

func orderKeys() []keySpec {
	return []keySpec{
		keyOf("orders", "enabled", func(c *Config) *bool { return &c.Orders.Enabled }, nil,
			"Whether the built-in shop accepts orders. If not, the shop only shows its products, and nothing is written to the card."),
		keyOf("orders", "directory", func(c *Config) *string { return &c.Orders.Directory }, checkFolder(`the ledger needs a directory; write one such as "ledger"`),
			"Directory of this board's part of the ledger; a relative path starts at the directory of bramble.toml. "+
				"It is created if it does not exist. It must be on a disk that does not lose synced data."),
		keyOf("orders", "retention", func(c *Config) *Duration { return &c.Orders.Retention }, checkDuration(time.Hour, 87600*time.Hour),
			"Time that names and addresses are stored after the last change of an order, 1h to 87600h; then they are erased. "+
				"180 days cover complaints and returns. A change holds for products offered later; for others \"bramble sale revise\" takes it over."),
		keyOf("orders", "public_url", func(c *Config) *string { return &c.Orders.PublicURL }, ifSet(checkOrigin),
			`URL at which buyers reach the shop, such as "https://shop.example", for the links in mail and webhooks.`).
			withDefault(`"", no links in mail`),
		keyOf("webhook", "url", func(c *Config) *string { return &c.Webhook.URL }, nil,
			"URL to which every order is posted when its fulfilment begins. If it is added later, orders from then on are posted; "+
				"\"bramble sale fulfil\" posts those from before.").
			withDefault(`"", none`).checkedBy(checkHook).namesSecret("if the address itself is a secret"),
		keyOf("webhook", "secret", func(c *Config) *string { return &c.Webhook.Secret }, nil,
			`Secret that signs the posts: "whsec_" and 24 to 64 bytes in base64. The receiver has the same.`).
			withDefault(`""`).asSecret("change it at the receiver"),
		keyOf("webhook", "timeout", func(c *Config) *Duration { return &c.Webhook.Timeout }, checkDuration(time.Second, time.Minute),
			"Time that the receiver has to answer, 1s to 1m."),
		keyOf("mail", "server", func(c *Config) *string { return &c.Mail.Server }, nil,
			"SMTP server, host:port; 587 with starttls and 465 with tls are usual. If it is added later, buyers get mail from then on.").
			withDefault(`"", no mail`).checkedBy(checkMail),
		keyOf("mail", "from", func(c *Config) *string { return &c.Mail.From }, ifSet(checkSender),
			`Sender of the mail, such as "Shop <shop@shop.example>".`).
			withDefault(`"", the seller's address in the catalogue`),
		keyOf("mail", "user", func(c *Config) *string { return &c.Mail.User }, nil,
			"User name at the server.").
			withDefault(`"", no login`),
		keyOf("mail", "password", func(c *Config) *string { return &c.Mail.Password }, nil,
			"Password at the server; it is sent only inside TLS.").
			withDefault(`""`).asSecret("change it at the mail server"),
		keyOf("mail", "tls", func(c *Config) *string { return &c.Mail.TLS }, checkOneOf("starttls", "tls", "none"),
			"How the connection is secured: starttls, tls (from the first byte), or none. "+
				"none shows names and addresses to the network in between; use it only for a server on this machine."),
		keyOf("mail", "timeout", func(c *Config) *Duration { return &c.Mail.Timeout }, checkDuration(time.Second, 5*time.Minute),
			"Time that one mail may take, 1s to 5m."),
	}
}

// checkFolder returns a check that a folder has a name, with the problem if it has none.
func checkFolder(problem string) func(string) string {
	return func(s string) string {
		if s == "" {
			return problem
		}
		return ""
	}
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
	_, err := mail.ParseAddress(s)
	return problemIf(err != nil, s, ` is not a mail address; write one such as "Shop <shop@shop.example>"`)
}
