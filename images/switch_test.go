//go:build linux

package images

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// laptopAddress is the test's link-local address, beside boards without DHCP.
const laptopAddress = "169.254.9.9"

// Cards on a bare switch, with no DHCP server and no address in their settings,
// form a rack, and a laptop there finds them by their names. When there is a DHCP
// server after all, they move to its addresses and are a rack again.
func TestCardsOnABareSwitchFormARack(t *testing.T) {
	skipUnlessBoards(t)
	image, inside := inNamespace(t, 25*time.Minute)
	if !inside {
		return
	}
	ports := lanUp(t, 2)
	runHost(t, "ip addr add %s/16 dev lan; ip route add 224.0.0.0/4 dev lan", laptopAddress)
	var rack []*emulatedBoard
	for i, serial := range serials()[:2] {
		b := newBoard(t, image, serial, ports[i]...)
		b.writeSettings("expected_boards = 2", fmt.Sprintf("ntp = [%q]", laptopAddress))
		b.start()
		rack = append(rack, b)
	}
	var shops, consoles []string
	for _, b := range rack {
		own := b.waitSerial(bootLimit, `bramble: network eth0 (169\.254\.\d+\.\d+)/16 link-local`)
		t.Logf("%s took %s", b.name, own)
		b.waitSerial(bootLimit, `bramble: clock set by `+laptopAddress)
		waitUntil(t, time.Minute, b.hostName()+".local", func() error {
			found, err := lookUp(b.hostName() + ".local.")
			if err == nil && found.String() != own {
				err = fmt.Errorf("it is said to be at %s, and is at %s", found, own)
			}
			return err
		})
		shops = append(shops, "http://"+own)
		consoles = append(consoles, "https://"+own+":8080")
	}
	waitWholeRack(t, rack, shops, consoles)
	receipt, err := placeOrder(t.Context(), shops[0], "neighbour")
	if err != nil {
		t.Fatal(err)
	}
	rack[1].waitPage(shops[1]+receipt, "neighbour")

	// A router is connected.
	dhcpServer(t)
	shops, consoles = nil, nil
	for i, b := range rack {
		own := fmt.Sprintf("10.77.0.%d", i+1)
		b.waitSerial(bootLimit, `bramble: network eth0 `+regexp.QuoteMeta(own)+`/24 by DHCP`)
		if said := b.runShell("ip -4 addr show dev eth0"); strings.Contains(said, "inet 169.254.") {
			t.Errorf("%s keeps its own address beside the lease:\n%s", b.name, said)
		}
		shops = append(shops, "http://"+own)
		consoles = append(consoles, "https://"+own+":8080")
	}
	waitWholeRack(t, rack, shops, consoles)
	rack[1].waitPage(shops[1]+receipt, "neighbour")
}

// lookUp resolves a name like a laptop (RFC 6762, a one-shot query).
func lookUp(name string) (netip.Addr, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(laptopAddress)})
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	query, err := new(dns.Msg).SetQuestion(name, dns.TypeA).Pack()
	if err != nil {
		return netip.Addr{}, err
	}
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return netip.Addr{}, err
	}
	if _, err := c.WriteTo(query, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}); err != nil {
		return netip.Addr{}, err
	}
	reply := make([]byte, 9000)
	n, err := c.Read(reply)
	if err != nil {
		return netip.Addr{}, err
	}
	var m dns.Msg
	if err := m.Unpack(reply[:n]); err != nil {
		return netip.Addr{}, err
	}
	for _, r := range m.Answer {
		if a, ok := r.(*dns.A); ok && a.Hdr.Name == name {
			at, _ := netip.AddrFromSlice(a.A)
			return at.Unmap(), nil
		}
	}
	return netip.Addr{}, errors.New("the answer has no address")
}

// dhcpServer assigns boards 10.77.0.N, N being the last byte of their hardware
// address, until the test ends (RFC 2131, as far as a card needs it).
func dhcpServer(t *testing.T) {
	t.Helper()
	runHost(t, "ip route add 255.255.255.255 dev lan")
	c, err := net.ListenPacket("udp4", ":67")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		c.Close()
		<-done
	})
	go func() {
		defer close(done)
		ask := make([]byte, 1500)
		for {
			n, _, err := c.ReadFrom(ask)
			if err != nil {
				return
			}
			if reply := dhcpReply(ask[:n]); reply != nil {
				_, _ = c.WriteTo(reply, &net.UDPAddr{IP: net.IPv4bcast, Port: 68}) // a lost reply is asked for again
			}
		}
	}()
}

// dhcpReply returns an offer or an acknowledgement, nil for a message without a reply.
func dhcpReply(ask []byte) []byte {
	const (
		hardware, options            = 28, 240 // where these begin
		discover, offer, request, ok = 1, 2, 3, 5
		kind, server, lease, mask    = 53, 54, 51, 1 // options
	)
	if len(ask) < options {
		return nil
	}
	said := byte(0)
	for o := ask[options:]; len(o) > 2 && o[0] != 255; {
		if o[0] == 0 { // padding
			o = o[1:]
			continue
		}
		if o[0] == kind {
			said = o[2]
		}
		o = o[min(len(o), 2+int(o[1])):]
	}
	answer, known := map[byte]byte{discover: offer, request: ok}[said]
	if !known {
		return nil
	}
	reply := make([]byte, options)
	copy(reply, ask[:options])
	reply[0] = 2 // a reply
	own := netip.MustParseAddr(lanAddress).As4()
	given := own
	given[3] = ask[hardware+5]
	copy(reply[16:], given[:])
	copy(reply[20:], own[:])
	reply = append(reply, kind, 1, answer, server, 4, own[0], own[1], own[2], own[3], lease, 4, 0, 0, 14, 16, mask, 4, 255, 255, 255, 0, 255)
	return append(reply, make([]byte, max(0, 300-len(reply)))...)
}
