package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestPlan(t *testing.T) {
	p, err := NewPlan(2, "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(p.Console)
	for _, b := range p.Boards {
		got += fmt.Sprintln(b.Name, b.HTTP, b.Console, b.Gossip, b.Link)
	}
	want := `127.0.0.1:8080
board-1 127.0.0.1:8081 127.0.0.1:8083 127.0.0.1:8085 127.0.0.1:8087
board-2 127.0.0.1:8082 127.0.0.1:8084 127.0.0.1:8086 127.0.0.1:8088
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestPlanAddresses(t *testing.T) {
	for addr, want := range map[string]string{ // console, first board's pages, gossip
		"localhost:9000":   "127.0.0.1:9000 127.0.0.1:9001 127.0.0.1:9003",
		":9000":            "0.0.0.0:9000 0.0.0.0:9001 127.0.0.1:9003",
		"[::1]:9000":       "[::1]:9000 [::1]:9001 [::1]:9003",
		"192.168.1.5:9000": "192.168.1.5:9000 192.168.1.5:9001 127.0.0.1:9003",
		"127.0.0.1:65531":  "127.0.0.1:65531 127.0.0.1:65532 127.0.0.1:65534",
	} {
		p, err := NewPlan(1, addr)
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		if got := fmt.Sprint(p.Console, " ", p.Boards[0].HTTP, " ", p.Boards[0].Gossip); got != want {
			t.Errorf("%s: got %s want %s", addr, got, want)
		}
	}
	for _, bad := range []struct {
		n    int
		addr string
		want string
	}{
		{0, "127.0.0.1:1", "a lab has 1 to 32 boards, not 0"},
		{33, "127.0.0.1:1", "a lab has 1 to 32 boards, not 33"},
		{1, "8080", `"8080" is not an address; write IP:PORT, such as 127.0.0.1:8080`},
		{1, "127.0.0.1:http", `"127.0.0.1:http" is not an address; write IP:PORT, such as 127.0.0.1:8080`},
		{1, "127.0.0.1:70000", `"127.0.0.1:70000" is not an address; write IP:PORT, such as 127.0.0.1:8080`},
		{1, "shop.example:80", `"shop.example:80" is not an address; write IP:PORT, such as 127.0.0.1:8080`},
		{5, "127.0.0.1:65530", "5 boards from port 65530 need ports up to 65550, but the last port is 65535; choose a lower port with --listen"},
	} {
		if _, err := NewPlan(bad.n, bad.addr); err == nil || err.Error() != bad.want {
			t.Errorf("%d boards at %s: got %v\nwant %s", bad.n, bad.addr, err, bad.want)
		}
	}
}

func TestPortErrorsNameTheRemedy(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.1:80")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fs.ErrPermission, "port 80 cannot be used (permission denied): a needs it\nport 80 cannot be used (permission denied): b needs it\n" +
			"ports below 1024 are reserved for the system: choose higher ones with --listen"},
		{errors.New("odd"), "port 80 cannot be used (odd): a needs it\nport 80 cannot be used (odd): b needs it\n" +
			"choose others with --listen (port 0: any free ports)"},
	} {
		e := PortErrors{{at, "tcp", "a needs it", tt.err}, {at, "tcp", "b needs it", tt.err}}
		if got := strings.ReplaceAll(e.Error(), fs.ErrPermission.Error(), "permission denied"); got != strings.ReplaceAll(tt.want, fs.ErrPermission.Error(), "permission denied") {
			t.Errorf("got\n%s\nwant\n%s", got, tt.want)
		}
	}
	p, err := NewPlan(5, at.String()) // an address for documentation, which nobody has
	if err != nil {
		t.Fatal(err)
	}
	want := "this machine does not have the address 192.0.2.1; choose one of its own with --listen, such as 127.0.0.1:8080"
	if err := p.Check(); err == nil || err.Error() != want {
		t.Errorf("with another machine's address:\n%v\nwant\n%s", err, want)
	}
}

func TestCheckReportsEveryTakenPort(t *testing.T) {
	p, err := NewPlan(3, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hold, err := net.Listen("tcp", p.Boards[2].HTTP.String())
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	one := fmt.Sprintf("port %d is taken: board-3 needs it for its public pages", p.Boards[2].HTTP.Port())
	if err := p.Check(); err == nil || err.Error() != one+"; stop the program that uses it, or choose others with --listen" {
		t.Errorf("with one taken port: %v", err)
	}
	udp, err := net.ListenPacket("udp", p.Boards[0].Gossip.String())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	err = p.Check()
	want := one + fmt.Sprintf("\nport %d (udp) is taken: board-1 needs it for gossip\n", p.Boards[0].Gossip.Port())
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("with two taken ports: %v\nwant %s", err, want)
	}
	var port *PortError
	if !errors.As(err, &port) || port.Addr != p.Boards[2].HTTP || !isPortTaken(err) {
		t.Errorf("as a PortError: %+v", port)
	}
}
