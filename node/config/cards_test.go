package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOneFileForAllCards(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bramble.toml")
	text := "\ufeff[rack]\r\nkey = \"" + testKey(t, 1).Reveal() + "\"\r\n[network]\r\nntp = [\"ntp.example\"]\r\n" +
		"[cards.1a2b.network]\r\naddress = \"192.168.1.11/24\"\r\ngateway = \"192.168.1.1\"\r\n" +
		"[cards.1A2B.board]\r\nname = \"till\"\r\n"
	text = strings.Replace(text, "1A2B", "1a2b", 1) + "[cards.\"00C0FFEE\"]\r\nboard = { weight = 400 }\r\norders = { directory = \"mine\" }\r\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		serial, address, name, folder string
		weight                        int
	}{
		{"000000001a2b", "192.168.1.11/24", "till", "/data/ledger", 100},
		{"0000000000C0FFEE", "", "", "/data/mine", 400},
		{"00000000deadbeef", "", "", "/data/ledger", 100},
	}
	for _, tt := range tests {
		d, err := LoadCard(file, tt.serial, "/data")
		if err != nil {
			t.Fatal(err)
		}
		c := d.Config
		if c.Network.Address != tt.address || c.Board.Weight != tt.weight || filepath.ToSlash(c.Orders.Directory) != tt.folder {
			t.Errorf("%s has %q, weight %d, orders in %s", tt.serial, c.Network.Address, c.Board.Weight, c.Orders.Directory)
		}
		if d.Written["board.name"] != (tt.name != "") || tt.name != "" && c.Board.Name != tt.name {
			t.Errorf("%s is called %q, written %v", tt.serial, c.Board.Name, d.Written["board.name"])
		}
		if len(c.Network.NTP) != 1 || c.Network.NTP[0] != "ntp.example" {
			t.Errorf("%s has not what is written for all: %v", tt.serial, c.Network.NTP)
		}
	}
}

func TestMistakesInCards(t *testing.T) {
	good := "[rack]\nkey = \"" + testKey(t, 1).Reveal() + "\"\n"
	tests := []struct{ name, text, want string }{
		{"key misspelt", "[cards.1a2b.network]\nadress = \"\"", `b.toml:4: [cards.1a2b.network] adress: unknown key; did you mean "address"?`},
		{"table misspelt", "[cards.1a2b.netwerk]\naddress = \"\"", `b.toml:3: [cards.1a2b.netwerk]: unknown table; did you mean [network]?`},
		{"too few digits", "[cards.a2b.network]\naddress = \"\"", `b.toml:3: [cards.a2b]: name a card by the last 4 to 16 digits of its serial number, 0 to 9 and a to f, such as [cards.1a2b.network]`},
		{"no digits", "[cards.till.network]\naddress = \"\"", `b.toml:3: [cards.till]: name a card by the last 4 to 16 digits of its serial number, 0 to 9 and a to f, such as [cards.1a2b.network]`},
		{"two for one", "[cards.1a2b.network]\n[cards.001A2B.board]\n", `b.toml:3: [cards.1a2b]: this and [cards.001a2b] can mean the same card; write more digits, or merge the two`},
		{"key without a table", "[cards.1a2b]\naddress = \"\"", `b.toml:4: [cards.1a2b] address: write the card's keys in a table, such as [cards.1a2b.network]; [[site]] is the same on all cards`},
		{"no table at all", "[cards]\n1a2b = 1", `b.toml:4: [cards.1a2b]: write [cards.1a2b.network] or another table's name, on a line of its own, and its keys below`},
		{"cards no table", "[[cards]]\n", `b.toml:3: [cards]: write [cards.1a2b.network] or another table's name, on a line of its own, and its keys below`},
		{"bad value", "[cards.1a2b.board]\nweight = 0", `b.toml:4: [cards.1a2b.board] weight: 0 is out of range; write a number from 1 to 1000`},
		{"clash with what all have", "[cards.1a2b.http]\nlisten = \":8080\"", `b.toml:4: [cards.1a2b.http] listen: ":8080" is already used by [console] listen; write another port`},
		{"prefix missing", "[cards.1a2b.network]\naddress = \"192.168.1.11\"", `b.toml:4: [cards.1a2b.network] address: "192.168.1.11" is not an IPv4 address with the prefix length of its network; write one such as "192.168.1.11/24"`},
		{"the network itself", "[network]\naddress = \"192.168.1.0/24\"", `b.toml:4: [network] address: "192.168.1.0/24" is not an address that a board can have; write one such as "192.168.1.11/24"`},
		{"router elsewhere", "[network]\naddress = \"192.168.1.9/24\"\ngateway = \"10.0.0.1\"", `b.toml:5: [network] gateway: "10.0.0.1" is not in the network of address "192.168.1.9/24", where a router must be`},
		{"router alone", "[network]\ngateway = \"10.0.0.1\"", `b.toml:4: [network] gateway: it works only with an address; write one, or remove gateway`},
		{"router is oneself", "[network]\naddress = \"10.0.0.1/24\"\ngateway = \"10.0.0.1\"", `b.toml:5: [network] gateway: "10.0.0.1" is the board's own address; write the router's`},
		{"host name", "[network]\nhostname = \"my_shop\"", `b.toml:4: [network] hostname: "my_shop" is not a host name; write letters, digits and '-', such as "shop-3"`},
		{"name server", "[network]\ndns = [\"router\"]", `b.toml:4: [network] dns: "router" is not an IPv4 address; write one such as "192.168.1.1"`},
		{"time server", "[network]\nntp = [\"a b\"]", `b.toml:4: [network] ntp: "a b" is not a host; write a name or an address, such as "192.168.1.1"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("b.toml", []byte(good+tt.text))
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestWhatAllHaveIsComplainedOfOnce(t *testing.T) {
	_, err := Parse("b.toml", []byte("[board]\nweight = 0\n[cards.1a2b.network]\n[cards.3c4d.network]\n"))
	want := "b.toml:2: [board] weight: 0 is out of range; write a number from 1 to 1000\n" +
		`b.toml: [rack] key is missing: run "bramble key" and paste its line under [rack]`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestNetworkOfAFileWithMistakes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bramble.toml")
	text := "[rack]\nkee = 1\n[network]\nhostname = \"shop\"\n[cards.1a2b.network]\naddress = \"10.0.0.2/8\"\n[cards.1a2b.board]\nwait = 1\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := LoadNetwork(file, "1a2b")
	if err != nil || n.Address != "10.0.0.2/8" || n.HostName != "shop" {
		t.Errorf("the network is %+v, %v", n, err)
	}
	if n, err = LoadNetwork(file, "ffff"); err != nil || n.Address != "" || n.HostName != "shop" {
		t.Errorf("another card's network is %+v, %v", n, err)
	}
}

func TestEditorsOfWindows(t *testing.T) {
	_, err := Parse("b.toml", []byte("\xff\xfe[\x00r\x00"))
	if err == nil || err.Error() != "b.toml:1: not valid TOML: it is saved as UTF-16; save it as UTF-8 in your editor" {
		t.Errorf("got %v", err)
	}
}
