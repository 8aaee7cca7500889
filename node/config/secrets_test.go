package config

import (
	"regexp"
	"strings"
	"testing"
)

func TestSecretsAreReplacedAndNothingElse(t *testing.T) {
	one, two := testKey(t, 1).Reveal(), testKey(t, 2).Reveal()
	passwords := map[string]string{"": "the new password", "till": "till's \"new\" one", "unknown": "of nobody here"}
	for name, c := range map[string]struct{ text, want string }{
		"comments": {
			"# first\n[rack]\n  key = \"" + one + "\" # keep [this]\nmdns = false\n[mail] # and\nfrom = \"tell me more <a@b.example>\"\n[console]\npassword = 'tell me more' # that\n",
			"# first\n[rack]\n  key = \"" + two + "\" # keep [this]\nold_keys = [\"" + one + "\"]\nmdns = false\n[mail] # and\nfrom = \"tell me more <a@b.example>\"\n[console]\npassword = \"the new password\" # that\n",
		},
		"old keys, accounts, the end of lines of Windows": {
			"[rack]\r\nold_keys = [] # none [yet]\r\nkey = '" + one + "'\r\n[[console.accounts]]\r\nname = \"till\"\r\nrole = \"shop\"\r\npassword = \"of the till\"\r\n",
			"[rack]\r\nold_keys = [\"" + one + "\"] # none [yet]\r\nkey = '" + two + "'\r\n[[console.accounts]]\r\nname = \"till\"\r\nrole = \"shop\"\r\npassword = \"till's \\\"new\\\" one\"\r\n",
		},
		"a mark before it, and no end of line": {"\ufeff[rack]\nkey = \"" + one + "\"", "[rack]\nkey = \"" + two + "\"\nold_keys = [\"" + one + "\"]\n"},
		"old keys on several lines":            {"[rack]\nkey = \"" + one + "\"\nold_keys = [\n]\n", ""},
		"a table in braces":                    {"rack = { key = \"" + one + "\" }\n", ""},
		"a password that is another's too":     {"[rack]\nkey = \"" + one + "\"\n[console]\npassword = \"tell me more\"\n[mail]\npassword = \"tell me more\"\n", ""},
		"no key":                               {"[console]\npassword = \"tell me more\"\n", ""},
	} {
		got, err := Secrets{Keys: []string{two, one}, Passwords: passwords}.Apply("b.toml", []byte(c.text))
		if string(got) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, c.want)
		}
	}
	text := "[rack]\nkey = \"" + one + "\"\n"
	for _, keys := range [][]string{nil, {"brk_short"}, {two, ""}} {
		if _, err := (Secrets{Keys: keys}).Apply("b.toml", []byte(text)); err == nil || strings.Contains(err.Error(), one) {
			t.Errorf("keys %q: %v", keys, err)
		}
	}
}

func TestOtherSecretsAreNamed(t *testing.T) {
	head := "[rack]\nkey = \"" + testKey(t, 1).Reveal() + "\"\n[console]\npassword = \"tell me more\"\n"
	for text, want := range map[string]string{
		"": "",
		"[mail]\nserver = \"mail.example:587\"\nfrom = \"a@b.example\"\nuser = \"u\"\npassword = \"x\"\n": "[mail] password (change it at the mail server)",
		"[cards.1a2b.console]\npassword = \"of this card\"\n[cards.3c4d.board]\nname = \"till\"\n":        "[cards.1a2b.console] password",
		"[tls]\nlisten = \":443\"\nacme_domains = [\"shop.example\"]\n":                                   "[tls] acme_storage (with all boards off write another folder, for a new account and new certificates, and revoke the old ones)",
		"[tls]\nlisten = \":443\"\ncertificate_files = [\"a.pem\"]\nkey_files = [\"a.key\"]\n":            "[tls] key_files (make new keys, and have the old certificates revoked)",
	} {
		p, err := parseTestFile([]byte(head + text))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(p.OtherSecrets(), ", "); got != want {
			t.Errorf("%s\nnames %q, want %q", text, got, want)
		}
	}
}

// Every key that has a secret, or looks so, says what becomes of it after a card was stolen, and Apply replaces those that it should.
func TestEverySecretHasARenewal(t *testing.T) {
	looks := regexp.MustCompile("key|pass|secret|token|account|url|storage|credential|auth|recipient|identity|private")
	public := " backup.recipients backup.url orders.public_url origin.url site.url tls.acme_directory_url update.keys "
	for _, k := range allKeys() {
		name := k.table + "." + k.key
		isPublic := strings.Contains(public, " "+name+" ")
		if (k.secret || looks.MatchString(k.key)) != (k.renewal != "" || isPublic) || isPublic && k.renewal != "" {
			t.Errorf("%s: secret %v, after a theft %q: say what becomes of it with asSecret or namesSecret, or list it here as public", name, k.secret, k.renewal)
		}
		if k.renewal == byRekey && !strings.Contains(" rack.key rack.old_keys console.password console.accounts ", " "+name+" ") {
			t.Errorf("%s: Secrets.Apply does not replace it", name)
		}
	}
}

// FuzzApply: whatever a file looks like, it keeps all settings but the secrets, or stays.
func FuzzApply(f *testing.F) {
	one, two := testKey(f, 1).Reveal(), testKey(f, 2).Reveal()
	f.Add("[rack]\nkey = \""+one+"\" # a\n[console]\npassword = \"tell me more\"\n", "new one !")
	f.Add("rack.key = '"+one+"'\nrack.old_keys = ['"+one+"']\n", "\"quoted\\\"")
	f.Fuzz(func(t *testing.T, text, password string) {
		got, err := Secrets{Keys: []string{two}, Passwords: map[string]string{"": password}}.Apply("b.toml", []byte(text))
		if err != nil {
			return
		}
		before, _ := Parse("b.toml", []byte(text))
		after, err := Parse("b.toml", got)
		if err != nil || after.Rack.Key.Reveal() != two || len(after.Rack.OldKeys) > 0 {
			t.Fatalf("%q becomes %q: %v", text, got, err)
		}
		after.Rack, after.Console = before.Rack, before.Console
		all := PrintOptions{Secrets: true}
		if string(after.TOML(all)) != string(before.TOML(all)) {
			t.Fatalf("%q becomes %q", text, got)
		}
	})
}
