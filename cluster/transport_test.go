package cluster

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// Anything that strangers send before they are authenticated is bounded.
func TestTransportLimitsStreams(t *testing.T) {
	noLeaks(t)
	cfg, _ := testConfig(t, "a")
	a := mustStart(t, cfg)
	var held []net.Conn
	for range maxGossipStreams {
		conn, err := net.Dial("tcp", gossipAddr(a))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		held = append(held, conn)
	}
	extra, err := net.Dial("tcp", gossipAddr(a))
	if err != nil {
		t.Fatal(err)
	}
	defer extra.Close()
	extra.SetReadDeadline(time.Now().Add(patience))
	if n, err := extra.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one stream too many is admitted: %d, %v", n, err)
	}
	for _, conn := range held {
		conn.Close()
	}
	b := startBoard(t, "b", gossipAddr(a)) // and then there is room again
	eventually(t, "a real board gets in", func() bool { return ringOf(a) == "a b" && ringOf(b) == "a b" })
}

// What arrives before memberlist knows its own board waits until it does. Gossip about an earlier life of the board
// made it dead in its own eyes, and it then refuted nothing.
func TestTransportDeliversNothingBeforeItsBoardIsKnown(t *testing.T) {
	noLeaks(t)
	tr, err := newTransport(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"), log.New(io.Discard, "", 0))
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
	if packet := <-tr.PacketCh(); string(packet.Buf) != "early" {
		t.Errorf("the packet is %q", packet.Buf)
	}
	(<-tr.StreamCh()).Close()
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
