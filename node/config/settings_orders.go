package config

import (
	"net"
	"net/mail"
	"net/url"
	"regexp"
	"strings"
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

// BackupSettings holds the table [backup]: the scheduled backups of the orders.
type BackupSettings struct {
	Directory  string   // a mounted USB stick; "" = none
	URL        string   // for PUT; "" = none
	User       string   // of URL
	Password   string   // of URL
	Recipients []string // age's public keys
	Interval   Duration
	Keep       int // backups in Directory
}

const (
	maxRecipients = 20
	maxKeep       = 1000
)

func backupKeys() []keySpec {
	return []keySpec{
		keyOf("backup", "directory", func(c *Config) *string { return &c.Backup.Directory }, nil,
			"Directory on another disk than the orders, such as a folder that you made on a mounted USB stick; on a card made with the image \"/usb\" is the stick. Every board on which this key is set writes its backups there: "+
				"set it for the board that has the stick.").
			withDefault(`"", none`),
		keyOf("backup", "url", func(c *Config) *string { return &c.Backup.URL }, ifSet(checkBackupURL),
			"URL of a folder on a server that accepts HEAD, PUT, GET and DELETE, such as WebDAV; redirects are not followed. The board that leads sends the backups there, and reads them back. With http, the network in between can read the password, but not the orders.").
			withDefault(`"", none`),
		keyOf("backup", "user", func(c *Config) *string { return &c.Backup.User }, nil,
			"User name at the server of url.").
			withDefault(`"", no login`),
		keyOf("backup", "password", func(c *Config) *string { return &c.Backup.Password }, nil,
			"Password at the server of url.").
			withDefault(`""`).asSecret("change it at that server"),
		keyOf("backup", "recipients", func(c *Config) *[]string { return &c.Backup.Recipients }, nil,
			"Public keys of age, \"age1…\", that the backups are encrypted for; \"age-keygen\" makes one. "+
				"The secret key stays with you: no board can read a backup later. At most 20.").
			withDefault("`[]`").checkedBy(checkRecipients),
		keyOf("backup", "interval", func(c *Config) *Duration { return &c.Backup.Interval }, checkDuration(time.Minute, 744*time.Hour),
			"Time from one backup to the next, 1m to 744h. What was ordered after the last backup is not in it."),
		keyOf("backup", "keep", func(c *Config) *int { return &c.Backup.Keep }, checkInt(1, maxKeep),
			"Number of backups that stay in directory, 1 to 1000; older ones of the same ledger are removed. The server of url removes none."),
	}
}

func checkBackupURL(s string) string {
	u, err := url.Parse(s)
	return problemIf(err != nil || u.Scheme != "http" && u.Scheme != "https" || !validHost(u.Hostname(), false) || u.User != nil || u.RawQuery != "" || u.Fragment != "", s,
		` is not the URL of a folder; write one such as "https://nas.example/backups", and user and password as keys of their own`)
}

const recipientPattern = "^age1[02-9ac-hj-np-z]{58}$" // form of an X25519 recipient of age: Bech32 with 32 bytes

func checkRecipients(c *Config) string {
	b := c.Backup
	if (b.Directory != "" || b.URL != "") && len(b.Recipients) == 0 {
		return `without a recipient no backup can be encrypted; run "age-keygen -o key.txt", and write its public key here: ["age1…"]`
	}
	return checkList(maxRecipients, "recipients", checkRecipient)(b.Recipients)
}

func checkRecipient(text string) string {
	if strings.HasPrefix(text, "AGE-SECRET-KEY-") {
		return "it is a secret key, which must not be on a board; write the public key, which begins with age1"
	}
	return problemIf(!regexp.MustCompile(recipientPattern).MatchString(text), text,
		` is not a public key of age; write the one that "age-keygen" printed, which begins with age1`)
}
