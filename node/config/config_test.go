package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// testKey is a key made for the tests, good for nothing else.
// parseTestFile parses the text of a file that may lack the rack key.
func parseTestFile(text []byte) (*ParsedFile, error) {
	return newFileParser("b.toml", "").parse(text, false)
}

func testKey(t testing.TB, fill byte) RackKey {
	t.Helper()
	var k RackKey
	for i := range k.secret {
		k.secret[i] = fill + byte(i)
	}
	return k
}

func TestMistakes(t *testing.T) {
	key := testKey(t, 1).Reveal()
	good := "[rack]\nkey = \"" + key + "\"\n"
	tests := []struct {
		name, text string
		want       string
		kind       error
	}{
		{"key misspelt", "[rack]\nkee = \"x\"\nkey = \"" + key + "\"", `b.toml:2: [rack] kee: unknown key; did you mean "key"?`, ErrUnknownKey},
		{"no key", "", `b.toml: [rack] key is missing: run "bramble key" and paste its line under [rack]`, ErrMissing},
		{"empty key", "[rack]\nkey = \"\"", `b.toml:2: [rack] key: it is empty: run "bramble key" and paste its line under [rack]`, ErrBadValue},
		{"short key", "[rack]\nkey = \"" + key[:40] + "\"", `b.toml:2: [rack] key: too short: it has 40 of a key's 50 characters; copy the whole line that "bramble key" printed`, ErrBadValue},
		{"long key", "[rack]\nkey = \"" + key + "A\"", `b.toml:2: [rack] key: too long: it has 51 characters and a key has 50; copy the whole line that "bramble key" printed`, ErrBadValue},
		{"mistyped key", "[rack]\nkey = \"" + key[:20] + "z" + key[21:] + "\"", `b.toml:2: [rack] key: mistyped: its checksum does not match; copy the whole line that "bramble key" printed`, ErrBadValue},
		{"impossible key", "[rack]\nkey = \"" + key[:20] + "+" + key[21:] + "\"", `b.toml:2: [rack] key: mistyped at character 21; copy the whole line that "bramble key" printed`, ErrBadValue},
		{"other secret", "[rack]\nkey = \"" + strings.Repeat("A", 50) + "\"", `b.toml:2: [rack] key: it is not a rack key, which begins with "brk_"; copy the whole line that "bramble key" printed`, ErrBadValue},
		{"placeholder", "[rack]\nkey = \"brk_redacted\"", `b.toml:2: [rack] key: it is only a placeholder for the key: "bramble config --show-secrets" prints the key itself`, ErrBadValue},
		{"key a number", "[rack]\nkey = 4711", `b.toml:2: [rack] key: write the string that "bramble key" prints, instead of a secret`, ErrWrongType},
		{"update key", good + "[update]\nkeys = [\"abc\"]", `b.toml:4: [update] keys: "abc" is not a public update key; paste the line that "bramble key --update FILE" prints`, ErrBadValue},
		{"old keys", good + "old_keys = [\"" + key[:9] + "\"]", `b.toml:3: [rack] old_keys: key 1 of the list: too short: it has 9 of a key's 50 characters; copy the whole line that "bramble key" printed`, ErrBadValue},
		{"key in another table", good + "[http]\nmemory = \"1MB\"", `b.toml:4: [http] memory: unknown key; it belongs under [cache]`, ErrUnknownKey},
		{"strange key", good + "[log]\ncolour = true", `b.toml:4: [log] colour: unknown key; [log] has level, format`, ErrUnknownKey},
		{"table misspelt", good + "[orign]\nurl = \"http://a\"", `b.toml:3: [orign]: unknown table; did you mean [origin]?`, ErrUnknownKey},
		{"key in no table", "mdns = true\n" + good, `b.toml:1: mdns: unknown key outside any table; it belongs under [rack]`, ErrUnknownKey},
		{"strange word outside", "zzz = true\n" + good, `b.toml:1: zzz: unknown key outside any table; "bramble config" prints all keys`, ErrUnknownKey},
		{"table as a value", "rack = 1\n", `b.toml:1: rack: it is a table; write [rack] on a line of its own and its keys below`, ErrWrongType},
		{"double brackets", good + "[[http]]\nlisten = \":80\"", `b.toml:3: [http]: there is only one; write [http] in single brackets`, ErrWrongType},
		{"duration without unit", good + "[http]\nidle_timeout = 60", `b.toml:4: [http] idle_timeout: write a duration in quotes, such as "10s", instead of 60`, ErrWrongType},
		{"duration mistyped", good + "[http]\nidle_timeout = \"60 sec\"", `b.toml:4: [http] idle_timeout: "60 sec": a duration needs a number and its unit (ms, s, m, h), such as "10s"`, ErrBadValue},
		{"duration too long", good + "[rack]\n", "b.toml:3: not valid TOML: the table is there twice; put all its keys under one", ErrSyntax},
		{"duration out of range", good + "peer_timeout = \"1h\"", `b.toml:3: [rack] peer_timeout: "1h" is out of range; write a duration from "100ms" to "30s"`, ErrBadValue},
		{"size", good + "[cache]\nmemory = \"lots\"", `b.toml:4: [cache] memory: "lots": a size needs whole digits and a unit (kB, MB, GB, KiB, MiB, GiB), such as "64MB"`, ErrBadValue},
		{"size too small", good + "[cache]\nmemory = 12", `b.toml:4: [cache] memory: "12B" is out of range; write a size from "2MB" to "1000GB"`, ErrBadValue},
		{"object larger than memory", good + "[cache]\nmax_object = \"65MB\"", `b.toml:4: [cache] max_object: "65MB" is out of range; write a size from "1kB" to a sixteenth of [cache] memory, which is "4MB"`, ErrBadValue},
		{"string for a number", good + "[http]\nmax_connections = \"many\"", `b.toml:4: [http] max_connections: write a whole number without quotes instead of "many"`, ErrWrongType},
		{"number out of range", good + "[board]\nweight = 0", `b.toml:4: [board] weight: 0 is out of range; write a number from 1 to 1000`, ErrBadValue},
		{"webhook without a secret", good + "[webhook]\nurl = \"https://w.example/o\"", `b.toml:4: [webhook] url: without a secret anyone could send such a webhook; add secret = "whsec_…" with 24 to 64 random bytes in base64`, ErrBadValue},
		{"webhook to nowhere", good + "[webhook]\nurl = \"warehouse\"", `b.toml:4: [webhook] url: "warehouse" is not the URL of a program; write one such as "https://warehouse.example/orders"`, ErrBadValue},
		{"mail without a port", good + "[mail]\nserver = \"mail.example\"", `b.toml:4: [mail] server: "mail.example" is not host:port; write one such as "mail.example:587"`, ErrBadValue},
		{"mail sender", good + "[mail]\nfrom = \"shop\"", `b.toml:4: [mail] from: "shop" is not a mail address; write one such as "Shop <shop@shop.example>"`, ErrBadValue},
		{"no pin", good + "[panel]\nhealth_pin = \"green\"", `b.toml:4: [panel] health_pin: "green" is not a pin; write one from "GPIO0" to "GPIO27", "auto" or "none"`, ErrBadValue},
		{"no bar", good + "[panel]\nbar_pins = [\"auto\", \"GPIO5\"]", `b.toml:4: [panel] bar_pins: write the pins of the lamps, or ["auto"] or ["none"] alone`, ErrBadValue},
		{"no directory", good + "[orders]\ndirectory = \"\"", `b.toml:4: [orders] directory: the ledger needs a directory; write one such as "ledger"`, ErrBadValue},
		{"number beyond 32 bits", good + "[board]\nweight = 4294967297", `b.toml:4: [board] weight: 4294967297 is out of range; the largest number is 2147483647`, ErrBadValue},
		{"number for a string", good + "[log]\nlevel = 3", `b.toml:4: [log] level: write a string in quotes instead of 3`, ErrWrongType},
		{"word", good + "[log]\nlevel = \"loud\"", `b.toml:4: [log] level: "loud" is not a value of this key; write "debug", "info", "warn" or "error"`, ErrBadValue},
		{"truth", good + "mdns = \"yes\"", `b.toml:3: [rack] mdns: write true or false without quotes instead of "yes"`, ErrWrongType},
		{"list", good + "join = \"10.0.0.1\"", `b.toml:3: [rack] join: write a list of strings in brackets, ["…", "…"] instead of "10.0.0.1"`, ErrWrongType},
		{"list of numbers", good + "join = [1]", `b.toml:3: [rack] join: write only strings in the list, each in quotes, instead of 1`, ErrWrongType},
		{"join", good + "join = [\"a b\"]", `b.toml:3: [rack] join: "a b" is not an address; write host or host:port, such as "192.168.1.11" or "board-1.local:7946"`, ErrBadValue},
		{"a certificate without listener", good + "[tls]\nacme_domains = [\"a.example\"]", `b.toml: [tls] listen: a certificate needs a listener; write listen = ":443"`, ErrBadValue},
		{"a certificate without key", good + "[tls]\nlisten = \":443\"\ncertificate_files = [\"a\"]", `b.toml:5: [tls] certificate_files: there are 1, and 0 under key_files; write both files of each, in the same order`, ErrBadValue},
		{"a wildcard from a CA", good + "[tls]\nlisten = \":443\"\nacme_domains = [\"*.a.example\"]", `b.toml:5: [tls] acme_domains: "*.a.example" is a wildcard, which a CA certifies over DNS only; write each name, or use a certificate file`, ErrBadValue},
		{"an address from a CA", good + "[tls]\nlisten = \":443\"\nacme_domains = [\"192.0.2.1\"]", `b.toml:5: [tls] acme_domains: "192.0.2.1" is not a name that a CA certifies; write a host name in small letters, such as "shop.example"`, ErrBadValue},
		{"a CA without TLS", good + "[tls]\nacme_directory_url = \"http://a\"", `b.toml:4: [tls] acme_directory_url: "http://a" is not the URL of a CA; write one such as https://acme-v02.api.letsencrypt.org/directory`, ErrBadValue},
		{"listen", good + "[http]\nlisten = 80", `b.toml:4: [http] listen: write a string in quotes instead of 80`, ErrWrongType},
		{"listen without colon", good + "[http]\nlisten = \"80\"", `b.toml:4: [http] listen: "80" is not an address; write host:port with a port from 0 to 65535, such as ":8080" or "127.0.0.1:8080"`, ErrBadValue},
		{"advertise", good + "advertise = \"0.0.0.0\"", `b.toml:3: [rack] advertise: "0.0.0.0" is not an address that others can reach; write an IP address without port, such as "192.168.1.11"`, ErrBadValue},
		{"origin", good + "[origin]\nurl = \"shop.example\"", `b.toml:4: [origin] url: "shop.example" is not the address of a web server; write "http://host", "http://host:port" or the same with https`, ErrBadValue},
		{"origin with path", good + "[origin]\nurl = \"http://a/b\"", `b.toml:4: [origin] url: "http://a/b" has a path, but clients choose the path; write "http://host", "http://host:port" or the same with https`, ErrBadValue},
		{"name", good + "[board]\nname = \"my board\"", `b.toml:4: [board] name: "my board" has a character that names cannot have; write letters, digits, '-', '_' and '.'`, ErrBadValue},
		{"two listeners on one port", good + "[http]\nlisten = \"127.0.0.1:8080\"", `b.toml:4: [http] listen: "127.0.0.1:8080" is already used by [console] listen; write another port`, ErrBadValue},
		{"short password", good + "[console]\npassword = \"tom\"", `b.toml:4: [console] password: it has 3 characters; write 8 to 200, or "" for none`, ErrBadValue},
		{"a hash cut short", good + "[console]\npassword = \"scrypt:AAAABBBBCCCCDDDDEEEEFFFFGG:" + strings.Repeat("x", 42) + "\"", `b.toml:4: [console] password: it begins as a hash and is not a whole one, so nobody could log in; copy the line again from "bramble console password" or "bramble console token"`, ErrBadValue},
		{"an account's hash cut short", good + "[[console.accounts]]\nname = \"till\"\nrole = \"shop\"\npassword = \"sha256:" + strings.Repeat("0", 63) + "\"", `b.toml:3: [console] accounts: till: password: it begins as a hash and is not a whole one, so nobody could log in; copy the line again from "bramble console password" or "bramble console token"`, ErrBadValue},
		{"password is the key", good + "[console]\npassword = \"" + key + "\"", `b.toml:4: [console] password: it is the rack key, and everybody who can open the console would control the rack; choose another`, ErrBadValue},
		{"key written twice", good + "key = \"x\"", "b.toml:3: not valid TOML: key: it is there twice; remove one of the lines", ErrSyntax},
		{"bracket forgotten", "[rack\n", "b.toml:1: not valid TOML: a table's name needs both brackets, such as [name]", ErrSyntax},
		{"key without quotes", "[rack]\nkey = " + key, `b.toml:2: not valid TOML: key: a value that is not a number needs quotes, "…"`, ErrSyntax},
		{"key alone", "[rack]\n" + key, "b.toml:2: not valid TOML: write a table such as [name], or a key and its value, such as name = \"text\"", ErrSyntax},
		{"size without quotes", good + "[cache]\nmemory = 64MB", `b.toml:4: not valid TOML: memory: a value that is not a number needs quotes, "…"`, ErrSyntax},
		{"address without quotes", good + "advertise = 192.168.1.1\r\n", `b.toml:3: not valid TOML: advertise: a value that is not a number needs quotes, "…"`, ErrSyntax},
		{"quote forgotten", good + "join = [\"a]\n", `b.toml:3: not valid TOML: join: the text's closing quote is missing; write "…" on one line`, ErrSyntax},
		{"curly quotes", good + "[http]\nlisten = “:80”\n", `b.toml:4: not valid TOML: listen: write straight quotes, "…"`, ErrSyntax},
		{"capital truth", good + "mdns = True\n", "b.toml:3: not valid TOML: mdns: write true or false in small letters", ErrSyntax},
		{"yes", good + "mdns = yes\n", "b.toml:3: not valid TOML: mdns: write true or false", ErrSyntax},
		{"no value", good + "mdns =\n", "b.toml:3: not valid TOML: mdns: its value is missing", ErrSyntax},
		{"Latin-1", good + "[board]\nname = \"caf\xe9\"\n", "b.toml:4: not valid TOML: name: a character is not UTF-8; save the file as UTF-8 in your editor", ErrSyntax},
		{"backslash", good + "[orders]\ndirectory = \"C:\\data\"\n", `b.toml:4: not valid TOML: directory: write a backslash in a text twice, \\`, ErrSyntax},
		{"wild number", good + "expected_boards = 99999999999999999999\n", "b.toml:3: not valid TOML: expected_boards: write a smaller number", ErrSyntax},
		{"no key under its table", "[board]\n[rack]\nexpected_boards = 3\n", `b.toml:2: [rack] key is missing: run "bramble key" and paste its line under [rack]`, ErrMissing},
		{"dotted", "rack.kee = \"x\"\nrack.key=\"" + key + "\"", `b.toml:1: [rack] kee: unknown key; did you mean "key"?`, ErrUnknownKey},
		{"inline", "rack = {key = \"" + key + "\", mdn = false}", `b.toml:1: [rack] mdn: unknown key; did you mean "mdns"?`, ErrUnknownKey},
		{"sites in single brackets", good + "[site]\nhost = \"a\"", `b.toml:3: [site]: there can be several; write [[site]] in double brackets`, ErrWrongType},
		{"key of a site misspelt", good + "[[site]]\nhost = \"a\"\n[[site]]\nhost = \"b\"\nurll = \"\"", `b.toml:7: [[site]] urll: unknown key; did you mean "url"?`, ErrUnknownKey},
		{"site without host", good + "[[site]]\nhost = \"a\"\n[[site]]\nurl = \"\"", `b.toml:5: [[site]] host is missing: write the site's host name, such as host = "shop.example"`, ErrMissing},
		{"host", good + "[[site]]\nhost = \"http://a\"", `b.toml:4: [[site]] host: "http://a" is not a host name; write one such as "shop.example"`, ErrBadValue},
		{"alias", good + "[[site]]\nhost = \"a\"\naliases = [\"a.*\"]", `b.toml:5: [[site]] aliases: "a.*" is not a host name; write one such as "www.shop.example" or "*.shop.example"`, ErrBadValue},
		{"two sites of one name", good + "[[site]]\nhost = \"a\"\n[[site]]\nhost = \"b\"\naliases = [\"A\"]", `b.toml:7: [[site]] aliases: "a" is used twice; give each site its own names`, ErrBadValue},
		{"site and default of one name", good + "[origin]\nurl = \"http://a\"\n[[site]]\nhost = \"a\"\nurl = \"http://b\"", `b.toml:6: [[site]] host: "a" is also the server of [origin] url, whose pages are stored under that name; make that server a [[site]] too, or give its address in [origin] url`, ErrBadValue},
		{"one server in two ways", good + "[[site]]\nhost = \"a\"\nurl = \"http://s\"\n[[site]]\nhost = \"b\"\nurl = \"http://s\"\nmax_concurrent = 3", `b.toml:8: [[site]] url: the server "http://s" has other settings above; give it the same ones everywhere`, ErrBadValue},
		{"site out of range", good + "[[site]]\nhost = \"a\"\nmax_concurrent = 0", `b.toml:5: [[site]] max_concurrent: 0 is out of range; write a number from 1 to 10000`, ErrBadValue},
		{"health path", good + "[origin]\nhealth_path = \"health\"", `b.toml:4: [origin] health_path: "health" is not a path; write one such as "/health"`, ErrBadValue},
		{"date", good + "[log]\nlevel = 2012-02-29", `b.toml:4: [log] level: write a string in quotes instead of a date or time`, ErrWrongType},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("b.toml", []byte(tt.text))
			if err == nil {
				t.Fatal("no error")
			}
			got := err.Error()
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if !errors.Is(err, tt.kind) {
				t.Errorf("%v is not of the kind %v", err, tt.kind)
			}
			if strings.Contains(got, key[4:12]) {
				t.Errorf("the message tells the key: %s", got)
			}
		})
	}
}

func TestAllMistakesAtOnceInOrder(t *testing.T) {
	_, err := Parse("b.toml", []byte("[http]\nlisen = \":80\"\n\n[log]\nlevel = 1\n[cache]\nmemory = \"1kB\"\nmax_object = \"1kB\"\n"))
	want := `b.toml:2: [http] lisen: unknown key; did you mean "listen"?
b.toml:5: [log] level: write a string in quotes instead of 1
b.toml:7: [cache] memory: "1kB" is out of range; write a size from "2MB" to "1000GB"
b.toml: [rack] key is missing: run "bramble key" and paste its line under [rack]`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	var one *Error
	if !errors.As(err, &one) || one.Line != 2 || one.Table != "http" || one.Key != "lisen" {
		t.Errorf("the first mistake as a value is %+v", one)
	}
	var text strings.Builder
	text.WriteString("[http]\n")
	for i := range 50 {
		fmt.Fprintf(&text, "zzzzzz%d = 1\n", i)
	}
	_, err = Parse("b.toml", []byte(text.String()))
	if n := strings.Count(err.Error(), "\n") + 1; n != maxErrors+1 {
		t.Errorf("51 mistakes gave %d lines, want %d", n, maxErrors+1)
	}
	if !strings.HasSuffix(err.Error(), "b.toml: and 31 more mistakes") {
		t.Errorf("the rest is not counted: %s", err)
	}
}

func TestParseSetsEveryKey(t *testing.T) {
	// What is printed of one configuration and read again must be the same,
	// with every field away from its default.
	c := Default()
	c.Board = BoardSettings{"b-1", 200}
	c.HTTP = HTTPSettings{"127.0.0.1:1", Duration(1e9), Duration(2e9), Duration(3e9), 5, Duration(0), 1, 2, 3, 4, 5, 8, 9, 6, Duration(4e9), 7}
	c.TLS = TLSSettings{
		"127.0.0.1:443", []string{filepath.Join(t.TempDir(), "a.pem")}, []string{filepath.Join(t.TempDir(), "a.key")},
		[]string{"shop.example", "www.shop.example"}, "https://ca.example/dir", "ops@shop.example",
		filepath.Join(t.TempDir(), "ca.pem"), filepath.Join(t.TempDir(), "certs"), true, Duration(time.Hour), 7,
	}
	c.Console = ConsoleSettings{"127.0.0.1:2", "quote \" and \\ and é\n", []ConsoleAccount{{"ann", "shop", "eight letters"}, {"graphs", "look", "sha256:" + strings.Repeat("0", 64)}}}
	c.Rack = RackSettings{testKey(t, 9), []RackKey{testKey(t, 2)}, "127.0.0.1:3", "127.0.0.1:4", "127.0.0.1", []string{"a:1", "b"}, false, Duration(5e8), Duration(90e9), 7}
	c.Cache = CacheSettings{3 * MiB, 1500, false, true, true, Duration(1e9), true, 3}
	c.Origin = OriginSettings{"https://shop.example:8443", Duration(1e8), Duration(2e8), Duration(3e8), 7, Duration(4e8), "/up?x=1", Duration(2e8), Duration(6e8), false, []string{"PROPFIND"}, []string{"192.0.2.7/32", "10.1.0.0/16"}}
	c.Sites = []SiteSettings{
		{"a.example", []string{"*.a.example", "b.example:81"}, OriginSettings{"", Duration(3e8), Duration(4e8), Duration(5e8), 9, Duration(1e8), "/", Duration(3e8), Duration(5e8), true, []string{"MKCOL"}, []string{"2001:db8::/32"}}},
		{"c.example", nil, OriginSettings{"http://10.0.0.1", Duration(1e8), Duration(2e8), Duration(3e8), 7, Duration(4e8), "", Duration(2e8), Duration(6e8), false, []string{"PROPFIND"}, []string{"192.0.2.7/32", "10.1.0.0/16"}}},
	}
	c.Shop.Catalogue = filepath.Join(t.TempDir(), "shop.toml")
	c.Orders = OrderSettings{false, filepath.Join(t.TempDir(), "ledger"), Duration(72 * time.Hour), "https://shop.example"}
	c.Webhook = WebhookSettings{"http://127.0.0.1:9/orders?x=1", "whsec_c2VjcmV0IG9mIHRoaXMgdGVzdCBhbG9uZQ==", Duration(2e9)}
	c.Mail = MailSettings{"mail.example:465", "Shop <shop@shop.example>", "shop", "battery \\ staple", "tls", Duration(3e9)}
	c.Backup = BackupSettings{filepath.Join(t.TempDir(), "stick"), "https://nas.example:8443/b", "rack", "gamma", []string{"age1" + strings.Repeat("q", 58)}, Duration(3 * time.Hour), 3}
	c.Panel = PanelSettings{"GPIO5", []string{"GPIO6", "17"}, "none", "PWR", true, true, true}
	c.Network = NetworkSettings{"192.168.1.11/24", "192.168.1.1", []string{"192.168.1.2"}, "shop-1", []string{"192.168.1.3"}}
	c.Update = UpdateSettings{[]string{"MCowBQYDK2VwAyEA" + strings.Repeat("A", 43) + "="}}
	c.Log = LogSettings{"debug", "json"}
	plain := Default()
	for _, s := range allKeys() {
		var site, plainSite *SiteSettings
		if s.table == "site" {
			site, plainSite = &c.Sites[0], &SiteSettings{Origin: c.Origin}
		}
		if reflect.DeepEqual(reflect.ValueOf(s.at(c, site)).Elem().Interface(), reflect.ValueOf(s.at(plain, plainSite)).Elem().Interface()) {
			t.Errorf("[%s] %s is not changed by this test", s.table, s.key)
		}
	}
	for _, comments := range []bool{false, true} {
		got, err := Parse("b.toml", c.TOML(PrintOptions{Secrets: true, Comments: comments}))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, c) {
			t.Errorf("read back\n%+v\nwant\n%+v", got, c)
		}
	}
}

// TestEverySettingIsAField counts, so that a new field cannot be forgotten.
func TestMaxObjectFollowsASmallMemory(t *testing.T) {
	for text, want := range map[string]Size{
		"":                                       MB,
		"memory = \"64MB\"":                      MB,
		"memory = \"8MB\"":                       500 * KB,
		"memory = \"8MB\"\nmax_object = \"2kB\"": 2 * KB,
	} {
		d, err := parseTestFile([]byte("[cache]\n" + text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if got := d.Config.Cache.MaxObject; got != want {
			t.Errorf("%q: max_object is %v, want %v", text, got, want)
		}
	}
}

func TestEverySettingIsAField(t *testing.T) {
	fields := 0
	count := func(v reflect.Value) {
		for i := range v.NumField() {
			if f := v.Field(i); f.Kind() == reflect.Struct {
				fields += f.NumField()
			} else if f.Kind() != reflect.Slice || f.Type().Elem().Kind() != reflect.Struct {
				fields++
			}
		}
	}
	count(reflect.ValueOf(Config{}))
	count(reflect.ValueOf(SiteSettings{}))
	seen := map[any]bool{}
	c := Default()
	c.Sites = make([]SiteSettings, 1)
	for _, s := range allKeys() {
		var site *SiteSettings
		if s.table == "site" {
			site = &c.Sites[0]
		}
		at := s.at(c, site)
		seen[at] = true
		if s.doc == "" || tomlLiteral(at, false, s.secret) == "" {
			t.Errorf("[%s] %s has no text", s.table, s.key)
		}
	}
	if len(seen) != fields || len(allKeys()) != fields {
		t.Errorf("%d settings for %d of %d fields", len(allKeys()), len(seen), fields)
	}
}

func TestDefaultsPassTheirChecks(t *testing.T) {
	c, err := Parse("b.toml", []byte("[rack]\nkey = \""+testKey(t, 1).Reveal()+"\""))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Rack.Key = testKey(t, 1)
	want.Orders.Directory = relativeTo("b.toml", want.Orders.Directory)
	want.TLS.ACMEStorage = relativeTo("b.toml", want.TLS.ACMEStorage)
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v want %+v", c, want)
	}
}

func TestOutputHidesSecretsAndFits(t *testing.T) {
	c := Default()
	c.Rack.Key = testKey(t, 3)
	c.Rack.OldKeys = []RackKey{testKey(t, 4)}
	c.Console.Password = "correct horse"
	out := string(c.TOML(PrintOptions{Comments: true}))
	for _, secret := range []string{testKey(t, 3).Reveal()[4:20], testKey(t, 4).Reveal()[4:20], "correct horse"} {
		if strings.Contains(out, secret) {
			t.Errorf("the output tells %q", secret)
		}
	}
	for _, line := range strings.Split(out, "\n") {
		if len([]rune(line)) > 80 {
			t.Errorf("wider than 80 columns: %s", line)
		}
	}
	for _, s := range allKeys() {
		if !strings.Contains(out, "\n"+s.key+" = ") && !strings.Contains(out, "\n# "+s.key+" = ") || !strings.Contains(Reference(), "| `"+s.key+"` |") {
			t.Errorf("%s is in one of the outputs not", s.key)
		}
	}
}

func TestDocument(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "rack.toml")
	if err := os.WriteFile(path, []byte("[shop]\ncatalogue = \"a/b.toml\"\n[cache]\nmemory = \"2MB\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	doc, err := LoadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]bool{"shop.catalogue": true, "cache.memory": true}; !reflect.DeepEqual(doc.Written, want) {
		t.Errorf("written is %v", doc.Written)
	}
	if want := filepath.Join(dir, "a", "b.toml"); doc.Config.Shop.Catalogue != want {
		t.Errorf("catalogue is %s, want %s", doc.Config.Shop.Catalogue, want)
	}
	if _, err := Load(filepath.Join(dir, "none.toml")); !errors.Is(err, ErrUnreadable) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there gave %v", err)
	}
	if _, err := Load(dir); !errors.Is(err, ErrUnreadable) {
		t.Errorf("a directory yields %v", err)
	}
	if _, err := Parse("b.toml", make([]byte, maxFile+1)); !errors.Is(err, ErrUnreadable) {
		t.Errorf("a huge file gave %v", err)
	}
}

func TestREADMEHasTheReference(t *testing.T) {
	const begin, end = "<!-- config:begin -->", "<!-- config:end -->"
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(data), begin)
	block, _, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("README.md has no %s … %s", begin, end)
	}
	if strings.TrimSpace(block) != strings.TrimSpace(Reference()) {
		t.Errorf("the reference in node/config/README.md is out of date: put the output of\n  go run ./cmd/bramble config --markdown\nbetween %s and %s", begin, end)
	}
}

func TestASiteIsAsOriginSaysWhereItSaysNothing(t *testing.T) {
	d, err := parseTestFile([]byte("[[site]]\nhost = \"A.example\"\nqueue_timeout = \"1s\"\n[[site]]\nhost = \"b.example\"\nurl = \"http://b\"\n[origin]\nurl = \"http://o\"\nmax_concurrent = 3\nqueue_timeout = \"1s\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	one, other := d.Config.Sites[0], d.Config.Sites[1]
	if one.Host != "a.example" || !reflect.DeepEqual(one.Origin, d.Config.Origin) || other.Origin.URL != "http://b" || other.Origin.MaxConcurrent != 3 {
		t.Errorf("sites are %+v", d.Config.Sites)
	}
	if time.Duration(other.Origin.QueueTimeout) != time.Second {
		t.Errorf("the second site waits %v, want what [origin] says", other.Origin.QueueTimeout)
	}
}
