package config

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"bramble/node/tomlfile"
)

const byRekey = "bramble rekey" // renewal of the secrets that "bramble rekey" replaces: those in Secrets

// Secrets are the settings that let somebody into the rack, and that "bramble rekey" replaces.
type Secrets struct {
	Keys      []string          `json:"keys"`      // rack keys as Reveal writes them: key, then old_keys
	Passwords map[string]string `json:"passwords"` // of console accounts, as the file has them; "" is [console] password
}

// Apply returns a board's file with these secrets, and with everything else as it was, comments
// included. Accounts that the file does not have are left out.
func (s Secrets) Apply(file string, text []byte) ([]byte, error) {
	before, err := Parse(file, text)
	if err != nil {
		return nil, err
	}
	var keys []RackKey
	for _, reveal := range s.Keys {
		var key RackKey
		if err := key.UnmarshalText([]byte(reveal)); err != nil {
			return nil, fmt.Errorf("a new rack key: %w", err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("there is no new rack key for %s", file)
	}
	want, pairs := *before, []string{before.Rack.Key.Reveal(), s.Keys[0]}
	want.Rack.Key, want.Rack.OldKeys, want.Console.Accounts = keys[0], keys[1:], append([]ConsoleAccount(nil), want.Console.Accounts...)
	replacePassword := func(account string, field *string) {
		if password, ok := s.Passwords[account]; ok && *field != "" {
			pairs = append(pairs, tomlString(*field), tomlString(password), "'"+*field+"'", tomlString(password))
			*field = password
		}
	}
	replacePassword("", &want.Console.Password)
	for i := range want.Console.Accounts {
		replacePassword(want.Console.Accounts[i].Name, &want.Console.Accounts[i].Password)
	}
	text = bytes.TrimPrefix(text, []byte(byteOrderMark))
	text = setOldKeys([]byte(strings.NewReplacer(pairs...).Replace(string(text))), s.Keys[1:])
	after, err := Parse(file, text)
	if err != nil {
		return nil, fmt.Errorf("with the new secrets: %w", err)
	}
	all := PrintOptions{Secrets: true}
	if !bytes.Equal(after.TOML(all), want.TOML(all)) {
		return nil, fmt.Errorf("%s: a program cannot replace its secrets: write key, old_keys and each password on one line, and no password twice", file)
	}
	return text, nil
}

// setOldKeys writes the line of old_keys, if there is none after that of key.
func setOldKeys(text []byte, keys []string) []byte {
	at, lines := tomlfile.Index(text), bytes.SplitAfter(text, []byte{'\n'})
	if n := at.At("rack.old_keys"); n > 0 {
		lines[n-1] = regexp.MustCompile(`^([^#=]*=\s*)\[[^]#]*\]`).ReplaceAll(lines[n-1], []byte("${1}"+tomlStrings(keys)))
	} else if n := at.At("rack.key"); n > 0 {
		lines[n-1] = append(bytes.TrimRight(lines[n-1], "\r\n"), "\nold_keys = "+tomlStrings(keys)+"\n"...)
	}
	return bytes.Join(lines, nil)
}

// OtherSecrets returns the keys of the secrets that the file has and that Apply does not replace, each with what to do, such
// as "[mail] password (change it at the mail server)". Secrets that one card has otherwise are among them.
func (p *ParsedFile) OtherSecrets() (names []string) {
	for _, k := range allKeys() {
		if k.renewal == "" {
			continue
		}
		shared := reflect.ValueOf(k.at(p.Config, nil)).Elem()
		if k.renewal != byRekey && shared.Len() > 0 && (k.key != "acme_storage" || len(p.Config.TLS.ACMEDomains) > 0) {
			names = append(names, fmt.Sprintf("[%s] %s (%s)", k.table, k.key, k.renewal))
		}
		for _, card := range p.cards {
			if own := reflect.ValueOf(k.at(card.doc.Config, nil)).Elem(); !reflect.DeepEqual(own.Interface(), shared.Interface()) {
				names = append(names, fmt.Sprintf("[%s.%s.%s] %s", cardsTable, card.digits, k.table, k.key))
			}
		}
	}
	return names
}
