//go:build linux

package images

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// laptopAddress is the test's own, beside boards that nobody gives an address.
const laptopAddress = "169.254.9.9"

// Cards on a bare switch, with no DHCP server and no address in their settings,
// form a rack, and a laptop there finds them by their names.
func TestCardsOnABareSwitchFormARack(t *testing.T) {
	long(t)
	image, inside := alone(t, 25*time.Minute)
	if !inside {
		return
	}
	ports := lanUp(t, 2)
	sh(t, "ip addr add %s/16 dev lan; ip route add 224.0.0.0/4 dev lan", laptopAddress)
	var rack []*emulated
	for i, serial := range serials()[:2] {
		b := newBoard(t, image, serial, ports[i]...)
		b.settle("boards = 2", fmt.Sprintf("ntp = [%q]", laptopAddress))
		b.start()
		rack = append(rack, b)
	}
	var shops, consoles []string
	for _, b := range rack {
		own := b.waitSaid(bootLimit, `bramble: network eth0 (169\.254\.\d+\.\d+)/16 of its own choice`)
		t.Logf("%s took %s", b.name, own)
		b.waitSaid(bootLimit, `bramble: clock set by `+laptopAddress)
		until(t, time.Minute, b.hostName()+".local", func() error {
			found, err := lookUp(b.hostName() + ".local.")
			if err == nil && found.String() != own {
				err = fmt.Errorf("it is said to be at %s, and is at %s", found, own)
			}
			return err
		})
		shops = append(shops, "http://"+own)
		consoles = append(consoles, "http://"+own+":8080")
	}
	whole(t, rack, shops, consoles)
	receipt, err := order(t.Context(), shops[0], "neighbour")
	if err != nil {
		t.Fatal(err)
	}
	rack[1].waitPage(shops[1]+receipt, "neighbour")
}

// lookUp asks for a name as a laptop does (RFC 6762, a one-shot query).
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
