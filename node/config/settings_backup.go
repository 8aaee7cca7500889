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

// backupKeys are the keys of [backup].
func backupKeys() []keySpec {
	return []keySpec{
		{
			table: "backup", key: "directory", defaultText: `"", none`,
			doc: "Directory on another disk than the orders, such as a folder that you made on a mounted USB stick. Every board on which this key is set writes its backups there: " +
				"set it for the board that has the stick.",
			at: func(c *Config) any { return &c.Backup.Directory },
		}, {
			table: "backup", key: "url", defaultText: `"", none`,
			doc:   "URL of a folder on a server that accepts HEAD, PUT, GET and DELETE, such as WebDAV; redirects are not followed. The board that leads sends the backups there, and reads them back. With http, the network in between can read the password, but not the orders.",
			at:    func(c *Config) any { return &c.Backup.URL },
			check: func(c *Config) string { return checkBackupURL(c.Backup.URL) },
		}, {
			table: "backup", key: "user", defaultText: `"", no login`,
			doc: "User name at the server of url.",
			at:  func(c *Config) any { return &c.Backup.User },
		}, {
			table: "backup", key: "password", defaultText: `""`, secret: true,
			doc: "Password at the server of url.",
			at:  func(c *Config) any { return &c.Backup.Password },
		}, {
			table: "backup", key: "recipients", defaultText: "`[]`",
			doc: "Public keys of age, \"age1…\", that the backups are encrypted for; \"age-keygen\" makes one. " +
				"The secret key stays with you: no board can read a backup later. At most 20.",
			at:    func(c *Config) any { return &c.Backup.Recipients },
			check: func(c *Config) string { return checkRecipients(c) },
		}, {
			table: "backup", key: "interval",
			doc:   "Time from one backup to the next, 1m to 744h. What was ordered after the last backup is not in it.",
			at:    func(c *Config) any { return &c.Backup.Interval },
			check: func(c *Config) string { return checkDuration(c.Backup.Interval, time.Minute, 744*time.Hour) },
		}, {
			table: "backup", key: "keep",
			doc:   "Number of backups that stay in directory, 1 to 1000; older ones of the same ledger are removed. The server of url removes none.",
			at:    func(c *Config) any { return &c.Backup.Keep },
			check: func(c *Config) string { return checkInt(c.Backup.Keep, 1, maxKeep) },
		},
	}
}

func checkBackupURL(s string) string {
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || !validHost(u.Hostname(), false) || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return quote(s) + ` is not the URL of a folder; write one such as "https://nas.example/backups", and user and password as keys of their own`
	}
	return ""
}

// recipientPattern is the form of an X25519 recipient of age: Bech32 with 32 bytes.
const recipientPattern = "^age1[02-9ac-hj-np-z]{58}$"

func checkRecipients(c *Config) string {
	b := c.Backup
	if problem := checkCount(len(b.Recipients), maxRecipients, "recipients"); problem != "" {
		return problem
	}
	if (b.Directory != "" || b.URL != "") && len(b.Recipients) == 0 {
		return `without a recipient no backup can be encrypted; run "age-keygen -o key.txt", and write its public key here: ["age1…"]`
	}
	for _, text := range b.Recipients {
		if strings.HasPrefix(text, "AGE-SECRET-KEY-") {
			return "it is a secret key, which must not be on a board; write the public key, which begins with age1"
		}
		if !regexp.MustCompile(recipientPattern).MatchString(text) {
			return quote(text) + ` is not a public key of age; write the one that "age-keygen" printed, which begins with age1`
		}
	}
	return ""
}
