package cluster

import (
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"bramble/cluster/unproven"
)

// One stranger holds few streams at once, and keeps no board out.
func TestTransportLimitsStreams(t *testing.T) {
	noLeaks(t)
	cfg, _ := testConfig(t, "a")
	a := mustStart(t, cfg)
	var held []net.Conn
	for range 2 * unproven.MaxStranger {
		conn, err := net.Dial("tcp", gossipAddr(a))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		held = append(held, conn)
	}
	held[0].SetReadDeadline(time.Now().Add(patience))
	if n, err := held[0].Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one stream too many is admitted: %d, %v", n, err)
	}
	b := startBoard(t, "b", gossipAddr(a))
	eventually(t, "a real board gets in", func() bool { return ringOf(a) == "a b" && ringOf(b) == "a b" })
	eventually(t, "no stream is left", func() bool {
		left := 0
		for _, conn := range held {
			conn.SetReadDeadline(time.Now().Add(time.Millisecond))
			if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
				left++
			}
		}
		return left == 0
	})
}

// What arrives before memberlist knows its own board waits until it does. Gossip about an earlier life of the board
// made it dead in its own eyes, and it then refuted nothing.
func TestTransportDeliversNothingBeforeItsBoardIsKnown(t *testing.T) {
	noLeaks(t)
	tr, err := newTransport(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"),
		unproven.New(time.Hour, func(netip.Addr) bool { return false }, slog.New(slog.DiscardHandler)), log.New(io.Discard, "", 0))
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Shutdown()
	to := fmt.Sprint("127.0.0.1:", tr.GetAutoBindPort())
	for _, network := range []string{"udp", "tcp"} {
		conn, err := net.Dial(network, to)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("early")); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-tr.PacketCh():
		t.Fatal("a packet is delivered early")
	case <-tr.StreamCh():
		t.Fatal("a stream is delivered early")
	case <-time.After(100 * time.Millisecond):
	}
	tr.deliver()
	for range 2 {
		select { // in either order
		case packet := <-tr.PacketCh():
			if string(packet.Buf) != "early" {
				t.Errorf("the packet is %q", packet.Buf)
			}
		case conn := <-tr.StreamCh():
			conn.Close()
		}
	}
}

func TestBoundedConn(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	go func() {
		client.Write(make([]byte, 100))
	}()
	closes := 0
	c := &boundedConn{Conn: server, left: 10, onClose: func() { closes++ }}
	n, err := c.Read(make([]byte, 64))
	if n != 10 || err != nil {
		t.Errorf("first Read: %d, %v; want 10", n, err)
	}
	if _, err := c.Read(make([]byte, 64)); !errors.Is(err, errStreamTooLong) {
		t.Errorf("Read past the bound: %v", err)
	}
	c.Close()
	c.Close()
	if closes != 1 {
		t.Errorf("onClose was called %d times", closes)
	}
}

// A stranger on the gossip port gets nothing but a close, whatever it sends.
func TestStrangersGetNoReply(t *testing.T) {
	noLeaks(t)
	cfg, _ := testConfig(t, "a")
	a := mustStart(t, cfg)
	for name, sent := range map[string]string{
		"nothing":                    "",
		"an HTTP request":            "GET / HTTP/1.1\r\n\r\n",
		"a ping that is not sealed":  "\x00\x82\xa5SeqNo\x01\xa4Node\xa1a",
		"a push-pull":                "\x06\x83",
		"sealed with another key":    "\x0a\x00\x00\x00\x40\x01" + strings.Repeat("k", 63),
		"sealed, of unknown version": "\x0a\x00\x00\x00\x40\x09" + strings.Repeat("k", 63),
		"sealed, and cut off":        "\x0a\x00\x00\x00\x40\x01",
		"sealed and too long":        "\x0a\x7f\xff\xff\xff\x01",
		"a label":                    "\xf4\x01x\x06",
		"half a label":               "\xf4\x09x",
		"an error":                   "\x0c\x81\xa5Error\xa1x",
		"an unknown type":            "\xfa",
	} {
		conn, err := net.Dial("tcp", gossipAddr(a))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		if _, err := conn.Write([]byte(sent)); err != nil {
			t.Fatal(err)
		}
		conn.(*net.TCPConn).CloseWrite()
		var got [64]byte
		if n, err := conn.Read(got[:]); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the stranger read %q, %v; want a close", name, got[:n], err)
		}
	}
	b := startBoard(t, "b", gossipAddr(a))
	eventually(t, "a real board gets in", func() bool { return ringOf(a) == "a b" && ringOf(b) == "a b" })
}
