package config

import (
	"encoding/base64"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// NetworkSettings is the table [network]: the network of a card. Only the card image
// reads it; another operating system has its own settings.
type NetworkSettings struct {
	Address  string   // "192.168.1.11/24"; "" = DHCP
	Gateway  string   // an IPv4 address; "" = none, or DHCP's
	DNS      []string // IPv4 addresses; none = DHCP's
	HostName string   // "" = "bramble-" and the last four digits of the serial number
	NTP      []string // hosts; none = those that DHCP names, else Debian's pool
}

// UpdateSettings is the table [update]: whose updates a card accepts.
type UpdateSettings struct {
	Keys []string // public ed25519 keys, in base64
}

const (
	maxResolvers   = 3 // the C library and Go use no more (resolv.conf(5))
	maxTimeServers = 8
)

func networkKeys() []keySpec {
	return []keySpec{
		keyOf("network", "address", func(c *Config) *string { return &c.Network.Address }, ifSet(checkPrefix),
			`IPv4 address of the card with the prefix length of its network, such as "192.168.1.11/24". `+
				"Empty: DHCP assigns one. An address belongs to one card: write it under [cards.…].").
			withDefault(`"", from DHCP`),
		keyOf("network", "gateway", func(c *Config) *string { return &c.Network.Gateway }, nil,
			"IPv4 address of the router. With a fixed address the rack needs it to reach the internet.").
			checkedBy(checkGateway),
		keyOf("network", "dns", func(c *Config) *[]string { return &c.Network.DNS }, checkList(maxResolvers, "name servers", checkResolver),
			"IPv4 addresses of name servers, at most 3. Empty: those that DHCP names."),
		keyOf("network", "hostname", func(c *Config) *string { return &c.Network.HostName }, ifSet(checkHostName),
			"Name of the card on its network, announced by mDNS as NAME.local: letters, digits and '-', at most 63. "+
				"The default uses the last four digits of the serial number, so that no two cards share it.").
			withDefault(`"bramble-1a2b", from the serial number`),
		keyOf("network", "ntp", func(c *Config) *[]string { return &c.Network.NTP }, checkList(maxTimeServers, "time servers", checkTimeServer),
			"Time servers, at most 8, of which 6 are asked; a card has no clock of its own. If they are fewer than three, those that DHCP names and Debian's public ones are asked too. "+
				"More than half of those that answer must agree.").
			withDefault("`[]`, DHCP's and Debian's"),
		keyOf("update", "keys", func(c *Config) *[]string { return &c.Update.Keys }, checkList(maxOldKeys, "keys", checkUpdateKey),
			`Public keys, at most 4, that "bramble init" or "bramble key --update" made. A card accepts "bramble update" only if one of them, or the key of Bramble's releases, has signed the image; and any board accepts "bramble rekey" only if one of them has signed the new secrets.`),
	}
}

func checkUpdateKey(s string) string {
	der, err := base64.StdEncoding.DecodeString(s)
	return problemIf(err != nil || len(der) != 44 || !strings.HasPrefix(s, "MCow"), s,
		` is not a public update key; paste the line that "bramble key --update FILE" prints`)
}

func checkPrefix(s string) string {
	p, err := netip.ParsePrefix(s)
	if err != nil || !p.Addr().Is4() {
		return quote(s) + ` is not an IPv4 address with the prefix length of its network; write one such as "192.168.1.11/24"`
	}
	return problemIf(p.Bits() < 8 || p.Bits() > 30 || !isHostAddress(p.Addr()) || p.Addr() == p.Masked().Addr(), s,
		` is not an address that a board can have; write one such as "192.168.1.11/24"`)
}

func isHostAddress(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

func checkGateway(c *Config) string {
	s := c.Network.Gateway
	if s == "" {
		return ""
	}
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() || !isHostAddress(a) {
		return quote(s) + ` is not an IPv4 address; write one such as "192.168.1.1"`
	}
	own, err := netip.ParsePrefix(c.Network.Address)
	switch {
	case c.Network.Address == "":
		return "it works only with an address; write one, or remove gateway"
	case err == nil && !own.Contains(a):
		return quote(s) + " is not in the network of address " + quote(c.Network.Address) + ", where a router must be"
	case err == nil && own.Addr() == a:
		return quote(s) + " is the board's own address; write the router's"
	}
	return ""
}

func checkResolver(s string) string {
	a, err := netip.ParseAddr(s)
	return problemIf(err != nil || !a.Is4() || a.IsUnspecified() || a.IsMulticast(), s, ` is not an IPv4 address; write one such as "192.168.1.1"`)
}

func checkHostName(s string) string {
	isOther := func(r rune) bool { return !nameRune(r) || r == '_' || r == '.' }
	return problemIf(len(s) > maxName || strings.Trim(s, "-") != s || strings.ContainsFunc(s, isOther), s,
		` is not a host name; write letters, digits and '-', such as "shop-3"`)
}

func checkTimeServer(s string) string {
	return problemIf(!validHost(s, false), s, ` is not a host; write a name or an address, such as "192.168.1.1"`)
}

// Values that replace the name of a pin.
const (
	PinAuto = "auto" // the pin of the wiring in gpio/README.md; no pin on a machine that is not a Pi
	PinNone = "none"
)

const maxBar = 16 // limits the lamps of a bar: no header has more pins

func panelKeys() []keySpec {
	return []keySpec{
		keyOf("panel", "health_pin", func(c *Config) *string { return &c.Panel.HealthPin }, checkPin,
			`Pin of the health lamp, such as "GPIO27"; "none" for no lamp. "auto" uses the pin of the wiring in gpio/README.md.`),
		keyOf("panel", "bar_pins", func(c *Config) *[]string { return &c.Panel.BarPins }, checkBar,
			`Pins of the load bar, lowest lamp first; 3 to 10 of them are easy to read. ["auto"] and ["none"] as for health_pin.`),
		keyOf("panel", "button_pin", func(c *Config) *string { return &c.Panel.ButtonPin }, checkPin,
			`Pin of the button; "auto" and "none" as for health_pin.`),
		keyOf("panel", "kernel_led", func(c *Config) *string { return &c.Panel.KernelLED }, nil,
			`The kernel's LED that shows health alone, by its name under /sys/class/leds; "none" for none. `+
				`"auto" is ACT, the green LED of every Pi.`),
		keyOf("panel", "active_low", func(c *Config) *bool { return &c.Panel.ActiveLow }, nil,
			"Whether a low pin lights a lamp, because the lamps are wired to 3.3 V instead of ground."),
		keyOf("panel", "pwm", func(c *Config) *bool { return &c.Panel.PWM }, nil,
			"Whether lamps on pins with PWM have brightness; on other pins they are on or off."),
		keyOf("panel", "blinkt", func(c *Config) *bool { return &c.Panel.Blinkt }, nil,
			"Whether a Blinkt! (eight APA102) replaces the lamps on pins."),
	}
}

// checkPin accepts the name of a pin, "auto" or "none". Which pins exist depends on the
// board, which reports a missing one when it starts.
func checkPin(s string) string {
	n, err := strconv.Atoi(strings.TrimPrefix(strings.ToUpper(s), "GPIO"))
	return problemIf(s != PinAuto && s != PinNone && (err != nil || n < 0 || n > 27), s, ` is not a pin; write one from "GPIO0" to "GPIO27", "auto" or "none"`)
}

func checkBar(list []string) string {
	if len(list) == 1 && (list[0] == PinAuto || list[0] == PinNone) {
		return ""
	}
	if len(list) == 0 || slices.Contains(list, PinAuto) || slices.Contains(list, PinNone) {
		return `write the pins of the lamps, or ["auto"] or ["none"] alone`
	}
	return checkList(maxBar, "lamps", checkPin)(list)
}
