package config

import (
	"net/url"
	"regexp"
	"strings"
	"time"
)

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
