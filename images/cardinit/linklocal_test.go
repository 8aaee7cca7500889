package cardinit

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestLinkLocalAddress(t *testing.T) {
	lowest, highest := netip.MustParseAddr("169.254.1.0"), netip.MustParseAddr("169.254.254.255")
	seen := map[netip.Addr]bool{}
	for _, hardware := range []string{"b8:27:eb:00:00:01 till", "b8:27:eb:00:00:02 till", ""} {
		for n := range 2000 {
			a := linkLocalAddress(hardware, n)
			if a.Less(lowest) || highest.Less(a) {
				t.Fatalf("%s is reserved", a)
			}
			if a != linkLocalAddress(hardware, n) {
				t.Fatal("a card gets another address each time")
			}
			seen[a] = true
		}
	}
	if len(seen) < 5600 { // 6,000 of 65,024 by chance: 5,730 different ones
		t.Errorf("6000 tries give %d addresses", len(seen))
	}
}

func TestFallbackPolicy(t *testing.T) {
	none := Address{}
	leased := Address{Own: netip.MustParsePrefix("10.0.0.2/24"), From: fromDHCP}
	own := Address{Own: netip.MustParsePrefix("169.254.7.7/16")}
	zero := time.Unix(0, 0)
	s := fallbackPolicy{since: zero, plugged: true}
	for _, tt := range []struct {
		at      float64 // seconds
		has     Address
		plugged bool
		want    addressAction
	}{
		{19.5, none, true, noAction}, {20, none, true, fallBack}, {20.5, none, true, noAction}, {40, none, true, fallBack}, // all were taken
		{50, own, true, noAction}, {100, own, true, defendAddress}, {159, own, true, noAction}, {160, own, true, defendAddress},
		{161, own, false, noAction}, {300, own, false, noAction}, {300.5, own, true, defendAddress}, {301, own, true, noAction}, // in another network?
		{310, leased, true, noAction}, {900, leased, true, noAction}, {901, none, true, noAction}, {919.5, none, true, noAction}, {920, none, true, fallBack},
		{925, none, false, noAction}, {990, none, false, noAction}, {991, none, true, noAction}, {1010, none, true, fallBack}, // no cable, no network
	} {
		if got := s.nextAction(zero.Add(time.Duration(tt.at*float64(time.Second))), tt.has, tt.plugged, 20*time.Second); got != tt.want {
			t.Errorf("at %v s: %d, want %d", tt.at, got, tt.want)
		}
	}
}

// Output of busybox's arping.
const (
	arpNobody = "ARPING 169.254.7.7 from 0.0.0.0 eth0\nSent 3 probe(s) (3 broadcast(s))\nReceived 0 response(s) (0 request(s), 0 broadcast(s))"
	arpReply  = "ARPING 169.254.7.7 from 0.0.0.0 eth0\nUnicast reply from 169.254.7.7 [b8:27:eb:00:00:02] 1.234ms\nSent 1 probe(s) (1 broadcast(s))\nReceived 1 response(s) (0 request(s), 0 broadcast(s))"
	arpProbe  = "ARPING 169.254.7.7 from 0.0.0.0 eth0\nBroadcast request from 0.0.0.0 [b8:27:eb:00:00:02]\nSent 1 probe(s) (1 broadcast(s))\nReceived 1 response(s) (1 request(s), 1 broadcast(s))"
)

func TestARPAnswered(t *testing.T) {
	for _, tt := range []struct {
		code   int
		output string
		want   bool
	}{
		{0, arpNobody, false}, {1, arpReply, true}, {1, arpProbe, true},
		{1, "arping: interface eth0 not found: No such device", false}, {-1, "", false},
	} {
		if got := arpAnswered(tt.code, tt.output); got != tt.want {
			t.Errorf("%d, %q: another machine has answered: %v", tt.code, tt.output, got)
		}
	}
}

// A card without a DHCP server takes the first address that no other machine has, goes on
// asking for a lease, and drops its own address for it.
func TestLinkLocalFallback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, m := fakePaths(t), newFakeSystem()
		var log logRecorder
		n := newNetwork(m, p, CardSettings{HostName: "till"}, log.logf)
		n.dhcpTimeout = time.Second
		writeFiles(t, p.Sys, map[string]string{"class/net/eth0/type": "1\n", "class/net/eth0/carrier": "1\n", "class/net/eth0/address": "b8:27:eb:00:00:01\n"})
		first, second := linkLocalAddress("b8:27:eb:00:00:01 till", 0).String(), linkLocalAddress("b8:27:eb:00:00:01 till", 1).String()
		m.answers["arping -D -c 3 -I eth0 "+first] = fakeAnswer{code: 1, output: arpReply}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { n.run(ctx) })
		defer running.Wait()
		defer cancel()
		<-m.starting
		lease := func(text string) {
			if err := replaceFile(filepath.Join(p.Run, "dhcp.eth0"), []byte(text)); err != nil {
				t.Error(err)
			}
		}
		lease("event=deconfig\n")
		eventually(t, "a link-local address", func() bool { return n.currentAddress().Own.String() == second+"/16" })
		eventually(t, "the address is announced", func() bool {
			return slices.Contains(m.commandsWith("arping -U"), "arping -U -c 2 -I eth0 -s "+second+" "+second)
		})
		if !log.contains("another machine has " + first) {
			t.Error("the log does not say that the first was taken")
		}
		want := []string{"ip addr add " + second + "/16 broadcast + dev eth0", "ip route replace 224.0.0.0/4 dev eth0"}
		if got := m.commandsWith("ip "); !slices.Equal(got[1:], want) {
			t.Errorf("the commands for the network are %v", got)
		}
		lease("event=leasefail\n")
		lease("event=nak\n")
		lease("event=bound\nip=10.0.0.2\nmask=24\n")
		eventually(t, "the lease", func() bool { return n.currentAddress().Own.String() == "10.0.0.2/24" })
		if got := m.commandsWith("ip addr flush"); len(got) != 1 {
			t.Errorf("the link-local address is dropped by %v", got)
		}
	})
}

// A card that finds another machine with its link-local address takes the next.
func TestLinkLocalAddressIsDefended(t *testing.T) {
	p, m := fakePaths(t), newFakeSystem()
	var log logRecorder
	n := newNetwork(m, p, CardSettings{HostName: "till"}, log.logf)
	n.claimLinkLocal(t.Context(), "eth0")
	at := n.currentAddress()
	n.defendLinkLocal(t.Context(), at)
	if n.currentAddress().Own != at.Own || len(m.commandsWith("ip addr flush")) != 0 {
		t.Error("an address that no other machine has is dropped")
	}
	m.answers["arping -D -c 3 -I eth0 "+at.Own.Addr().String()] = fakeAnswer{code: 1, output: arpProbe}
	n.defendLinkLocal(t.Context(), at)
	if now := n.currentAddress().Own; now == at.Own || !now.IsValid() {
		t.Errorf("after %v it has %v", at.Own, now)
	}
	m.answers["arping -D"] = fakeAnswer{code: 1, output: arpReply}
	m.answers["arping -D -c 3 -I eth0 "+n.currentAddress().Own.Addr().String()] = fakeAnswer{code: 1, output: arpReply}
	asked := len(m.commandsWith("arping -D"))
	n.defendLinkLocal(t.Context(), n.currentAddress())
	if n.currentAddress().Own.IsValid() {
		t.Errorf("an address is taken that another machine has: %v", n.currentAddress())
	}
	if got := len(m.commandsWith("arping -D")) - asked; got != 1+claimTries {
		t.Errorf("%d addresses were probed in a row", got)
	}
}

// A link-local address is not saved, and a saved address comes before it.
func TestSavedAddressComesBeforeLinkLocal(t *testing.T) {
	p, m := fakePaths(t), newFakeSystem()
	var log logRecorder
	n := newNetwork(m, p, CardSettings{HostName: "till"}, log.logf)
	n.claimLinkLocal(t.Context(), "eth0")
	if err := n.saveAddress(n.currentAddress()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p.SavedFile("network")); err == nil {
		t.Error("a link-local address is saved")
	}
	if err := n.saveAddress(Address{Interface: "eth0", Own: netip.MustParsePrefix("10.1.1.9/16")}); err != nil {
		t.Fatal(err)
	}
	n = newNetwork(m, p, CardSettings{HostName: "till"}, log.logf)
	n.useSaved = true
	n.useFallback(t.Context(), "eth0")
	if got := n.currentAddress(); got.Own.String() != "10.1.1.9/16" || !strings.Contains(got.From, "last time") {
		t.Errorf("the address is %v", got)
	}
}
