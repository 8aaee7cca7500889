//go:build unix

package sockets

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// The test binary is also the program of these tests; this environment
// variable selects its role.
const roleEnv = "SOCKETS_TEST_ROLE"

const patience = 20 * time.Second

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleEnv); role {
	case "":
		os.Exit(m.Run())
	default:
		if err := play(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// play runs a role: the first program opens a listener, prints its address, waits for
// a line and execs the second, which answers each client.
func play(role string) error {
	set, err := Inherit(os.Getenv(Env))
	if err != nil {
		return err
	}
	defer set.Close()
	l, err := set.Listen("pages", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if role == "first" {
		fmt.Println(l.Addr())
		if _, err := fmt.Scanln(new(string)); err != nil {
			return err
		}
		l.Close() // as after serving
		time.Sleep(200 * time.Millisecond)
		if err := os.Unsetenv(Env); err != nil {
			return err
		}
		if err := os.Setenv(roleEnv, "second"); err != nil {
			return err
		}
		self, err := os.Executable()
		if err != nil {
			return err
		}
		return set.Exec(self, os.Args, os.Environ())
	}
	for range 2 {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		fmt.Fprintf(c, "pid %d", os.Getpid())
		c.Close()
	}
	return nil
}

func TestNoClientIsRefusedDuringARestart(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"=first")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var addr string
	if _, err := fmt.Fscanln(out, &addr); err != nil {
		t.Fatal(err)
	}
	first := dial(t, addr) // before the restart: it waits in the backlog
	if _, err := io.WriteString(in, "go\n"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // so that this one connects between the two programs
	second := dial(t, addr)
	want := fmt.Sprintf("pid %d", cmd.Process.Pid)
	for _, c := range []net.Conn{first, second} {
		text, err := io.ReadAll(c)
		if err != nil || string(text) != want {
			t.Errorf("answered with %q, %v; want %q", text, err, want)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestASocketForAnotherAddressIsClosed(t *testing.T) {
	old, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := old.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Dup(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	set, err := Inherit(fmt.Sprintf(`[{"name":"pages","address":"127.0.0.1:80","fd":%d}]`, fd))
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	l, err := set.Listen("pages", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Addr().String() == old.Addr().String() {
		t.Error("the socket of another address was taken")
	}
	old.Close()
	if c, err := net.Dial("tcp", old.Addr().String()); err == nil {
		c.Close()
		t.Error("the socket of another address was left open")
	}
}

func TestInheritRejectsBadLists(t *testing.T) {
	many := "["
	for i := range maxSockets + 1 {
		many += fmt.Sprintf(`{"name":"n%d","fd":%d},`, i, i+100)
	}
	many = many[:len(many)-1] + "]"
	for name, env := range map[string]string{
		"no list":         `{"fd":7}`,
		"broken":          `[{"fd":`,
		"standard output": `[{"name":"pages","address":":80","fd":1}]`,
		"negative":        `[{"name":"pages","address":":80","fd":-1}]`,
		"twice":           `[{"name":"a","address":":80","fd":900},{"name":"b","address":":81","fd":900}]`,
		"too many":        many,
	} {
		if _, err := Inherit(env); !errors.Is(err, ErrInherit) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAFileThatIsNoSocketIsAnError(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd, err := syscall.Dup(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	set, err := Inherit(fmt.Sprintf(`[{"name":"pages","address":":80","fd":%d}]`, fd))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.Listen("pages", ":80"); !errors.Is(err, ErrInherit) {
		t.Errorf("error %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`[{"name":"pages","address":":80","fd":7},{"name":"console","address":":8080","fd":8}]`)
	f.Add(`[]`)
	f.Add(`[{"fd":3},{"fd":3}]`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, env string) {
		list, err := parseEnv(env)
		if err != nil {
			if !errors.Is(err, ErrInherit) {
				t.Errorf("error %v", err)
			}
			return
		}
		for _, h := range list {
			if h.FD < firstDescriptor {
				t.Errorf("descriptor %d is a standard stream", h.FD)
			}
		}
	})
}

// Without a successor a socket closes with its listener.
func TestAReleasedSocketClosesWithItsListener(t *testing.T) {
	set := new(ListenerSet)
	defer set.Close()
	listen := func() net.Listener {
		t.Helper()
		l, err := set.Listen("pages", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	open := func(l net.Listener) bool {
		c, err := net.DialTimeout("tcp", l.Addr().String(), patience)
		if err != nil {
			return false
		}
		c.Close()
		return true
	}
	before := listen()
	before.Close()
	if !open(before) || !set.PassesOn() {
		t.Error("the listener to pass on does not live on")
	}
	set.Release()
	after := listen()
	after.Close()
	if open(before) || open(after) || set.PassesOn() {
		t.Error("what is handed on to nobody lives on")
	}
}
