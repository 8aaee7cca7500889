package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bramble/node/backup"
	"bramble/node/console/client"
)

const (
	// passphraseVariable is the environment variable with the passphrase of backups: every
	// user of the machine could see an argument.
	passphraseVariable = "BRAMBLE_BACKUP_PASSPHRASE"
	backupTimeout      = 15 * time.Minute // of one backup, its reading back included
)

func backupCommand() command {
	return command{
		name:  "backup",
		short: "write all orders to one encrypted file",
		long: `
Write all orders, and what makes them valid, to one file that is encrypted by
age (age-encryption.org): sales, limits, waiting lists, draws with their
secrets, the audit trail and the keys of the receipts. Any board of the rack
will do. The file is read back, decrypted and restored to a scratch copy before
the command reports success. The catalogue is not in it: it is a file of yours.

Name who can read the file: recipients (public keys, "age1…"), or a passphrase
in --passphrase-file or BRAMBLE_BACKUP_PASSPHRASE. Without either nobody can
read it later, so the command requires one of them.

Backups by a schedule are set under [backup] in the boards' file.`,
		examples: `
  bramble backup --recipient age1… --out orders.age
  bramble backup --passphrase-file passphrase.txt
  bramble backup --verify orders.age --identity key.txt
  bramble backup --status`,
		flags: func(fs *flagSet) runner {
			connect := addConsoleFlags(fs)
			keys := addKeyFlags(fs)
			var recipients []string
			fs.Func("recipient", "encrypt for this public `KEY` of age; can be given several times", func(key string) error {
				recipients = append(recipients, key)
				return nil
			})
			out := fs.String("out", "", "write this new `FILE` (default bramble-TIME.age)")
			verify := fs.String("verify", "", "check this `FILE` instead, completely; it needs no rack")
			status := fs.Bool("status", false, "print the state of the board's scheduled backups instead")
			asJSON := fs.Bool("json", false, "print JSON instead of text")
			stale := fs.Bool("stale", false, "also accept a board that may not have all orders")
			return func(ctx context.Context, w world, _ []string) error {
				ctx, cancel := context.WithTimeout(ctx, backupTimeout)
				defer cancel()
				if *verify != "" {
					if err := fs.refuseBeside("verify", "recipient", "out", "status", "stale"); err != nil {
						return err
					}
					keyring, err := keys.open(w)
					if err != nil {
						return err
					}
					h, err := openBackup(*verify, keyring, backup.CheckBook)
					if err != nil {
						return err
					}
					return printBackup(w, h, *asJSON, "The backup is complete.")
				}
				if *status {
					if err := fs.refuseBeside("status", "recipient", "out", "stale", "identity", "passphrase-file"); err != nil {
						return err
					}
				}
				return connect(w, func(c *client.Client) error {
					if *status {
						return printBackupStatus(ctx, w, c, *asJSON)
					}
					if *out == "-" {
						return usagef("--out needs a file, because the backup is read back; - is none")
					}
					keyring, err := keys.sealFor(w, recipients)
					if err != nil {
						return err
					}
					return writeBackup(ctx, w, c, keyring, *out, *stale, *asJSON)
				})
			}
		},
	}
}

type keyFlags struct{ passphraseFile, identity *string }

func addKeyFlags(fs *flagSet) keyFlags {
	return keyFlags{
		passphraseFile: fs.String("passphrase-file", "", "read the passphrase from the first line of this `FILE` (\"-\" is standard input); default: "+passphraseVariable),
		identity:       fs.String("identity", "", "open the backup with the secret keys in this `FILE` of age-keygen"),
	}
}

// passphrase returns the passphrase; "" if none is named.
func (k keyFlags) passphrase(w world) (string, error) {
	if *k.passphraseFile == "" {
		return w.getenv(passphraseVariable), nil
	}
	var text []byte
	var err error
	if *k.passphraseFile == "-" {
		text, err = io.ReadAll(io.LimitReader(w.in, 4<<10))
	} else {
		text, err = readSecret(w, *k.passphraseFile)
	}
	if err != nil {
		return "", fmt.Errorf("reading the passphrase: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", usagef("the first line of the passphrase's file, %s, is empty", *k.passphraseFile)
	}
	return line, nil
}

// sealFor returns the keyring that encrypts.
func (k keyFlags) sealFor(w world, recipients []string) (*backup.Keyring, error) {
	text, err := k.passphrase(w)
	if err != nil {
		return nil, err
	}
	if *k.passphraseFile == "" && len(recipients) > 0 {
		text = "" // what the command line names counts before the environment
	}
	if (text == "") == (len(recipients) == 0) {
		return nil, usagef("name either recipients with --recipient, or a passphrase with --passphrase-file or %s", passphraseVariable)
	}
	if text != "" {
		keyring, err := backup.NewPassphraseKeyring(text)
		if err != nil {
			return nil, usagef("%v", err)
		}
		return keyring, nil
	}
	keyring, err := backup.NewRecipientsKeyring(recipients)
	if err != nil {
		return nil, usagef("--recipient: %v", err)
	}
	return keyring, nil
}

// open returns the keyring that decrypts.
func (k keyFlags) open(w world) (*backup.Keyring, error) {
	if *k.identity != "" {
		text, err := readSecret(w, *k.identity)
		if err != nil {
			return nil, fmt.Errorf("opening the identity file: %w", err)
		}
		return backup.NewIdentitiesKeyring(bytes.NewReader(text))
	}
	text, err := k.passphrase(w)
	switch {
	case err != nil:
		return nil, err
	case text == "":
		return nil, usagef("name what opens the backup: --identity, --passphrase-file or %s", passphraseVariable)
	}
	return backup.NewPassphraseKeyring(text)
}

// openBackup decrypts and checks a file; use is as in backup.ReadStream.
func openBackup(path string, keyring *backup.Keyring, use func(backup.Header, io.Reader) error) (backup.Header, error) {
	f, err := os.Open(path)
	if err != nil {
		return backup.Header{}, fmt.Errorf("opening the backup: %w", err)
	}
	defer f.Close()
	h, err := keyring.Open(f, use)
	if err != nil {
		return h, fmt.Errorf("%s: %w", path, err)
	}
	return h, nil
}

func writeBackup(ctx context.Context, w world, c *client.Client, keyring *backup.Keyring, out string, stale, asJSON bool) error {
	if out == "" {
		out = "bramble-" + time.Now().UTC().Format("20060102T150405Z") + ".age"
	}
	path := "backup"
	if stale {
		path += "?stale=1"
	}
	source := func(ctx context.Context, to io.Writer) error {
		var from io.ReadCloser
		err := readStale(ctx, w, func() (err error) {
			from, err = c.ShopStream(ctx, path)
			return err
		})
		if err != nil {
			return err
		}
		defer from.Close()
		if _, err := io.Copy(to, from); err != nil {
			return fmt.Errorf("the board stopped sending; try again, or name another with --console: %w", err)
		}
		return nil
	}
	h, _, err := backup.Make(ctx, backup.Folder(filepath.Dir(out)), filepath.Base(out), keyring, source, backup.CheckBook)
	if err != nil {
		return err
	}
	if h.Lacks > 0 {
		return printBackup(w, h, asJSON, "Wrote "+out+" and read it back.")
	}
	return printBackup(w, h, asJSON, "Wrote "+out+" and read it back: it is complete.")
}

// printBackup prints what a backup has, without its keys.
func printBackup(w world, h backup.Header, asJSON bool, text string) error {
	if asJSON {
		h.ReceiptKeys = nil
		return printJSON(w, h)
	}
	fmt.Fprintln(w.out, strings.Join(wrapText(text, helpWidth), "\n"))
	fmt.Fprintf(w.out, "%s of %s, by the ledger's clock, at entry %d of\nledger %s, from %s.\n",
		pluralize(int(h.Orders), "order", "orders"), h.At.UTC().Format("2006-01-02 15:04:05 UTC"), h.Index, h.Ledger, h.Board)
	if h.Lacks > 0 {
		printNote(w, fmt.Sprintf("It lacks %s of the ledger that the board has or knows of and has not applied, and the orders in them. Back up another board, or see bramble orders list --stale.", pluralize(int(h.Lacks), "entry", "entries")))
	}
	if h.Unproven > 0 {
		printNote(w, fmt.Sprintf("It is made from the board's whole log. Of its last %s nothing on the board proves that they were acknowledged.", pluralize(h.Unproven, "change", "changes")))
	}
	return nil
}

func printBackupStatus(ctx context.Context, w world, c *client.Client, asJSON bool) error {
	var all []backup.TargetStatus
	if err := c.Shop(ctx, http.MethodGet, "backup/status", nil, &all); err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, all)
	}
	if len(all) == 0 {
		fmt.Fprintln(w.out, "This board has no scheduled backups: set directory or url under [backup].")
	}
	for _, s := range all {
		last := "none known to this board"
		if s.LastSuccess != nil {
			last = s.LastSuccess.Format("2006-01-02 15:04:05 UTC")
		}
		row := func(title, text string) {
			fmt.Fprintf(w.out, "  %-12s %s\n", title, strings.Join(wrapText(text, helpWidth-15), "\n               "))
		}
		fmt.Fprintln(w.out, s.To)
		row("last backup", last)
		if s.File != "" {
			row("file", s.File)
			row("size", formatBytes(s.Bytes))
		}
		row("failures", fmt.Sprintf("%d since the start", s.Failures))
		switch {
		case s.Error != "":
			row("now", s.Error)
		case !s.Responsible:
			row("now", "another board makes the backups")
		}
	}
	return nil
}
