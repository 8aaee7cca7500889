//go:build linux

package images

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// cardBytes is the size of an emulated card: a power of two, which the emulator requires,
// and more than the image, so that the data partition can grow.
const cardBytes = 128 << 20

// emulatedBoard is a first Raspberry Pi in the emulator, with its own card. It is
// used by one goroutine at a time.
type emulatedBoard struct {
	t      *testing.T
	model  model
	name   string
	folder string
	card   string   // its file
	serial string   // hex digits
	net    []string // of the emulator's command line
	extra  []byte   // a second start-up archive: files that are on no card
	trial  string   // the slot to start in place of config.txt's; "": none
	// watchdog: the second start-up archive has one that may be opened.
	watchdog bool
	// jumps: a trial of the other slot uses kexec, after which there is no network.
	jumps bool
	boots int
	asked int // commands to the shell

	cmd       *exec.Cmd
	exited    chan struct{}
	input     net.Conn // the serial line
	unread    sync.WaitGroup
	registers *registers
}

// model is a model of board: its name in the emulator, and the files that the firmware
// loads for it.
type model struct {
	emulator        []string // its program, and arguments for the board
	machine, memory string
	deviceTree      string        // the file
	section         string        // of config.txt
	kernelParams    string        // further kernel parameters
	boot            time.Duration // what bootLimit is for a first board
}

var (
	// modelB is the first board, of 2012, with the memory that its graphics leave of 256 MB.
	modelB = model{[]string{"qemu-system-arm"}, "raspi1ap", "512M", "bcm2835-rpi-b.dtb", "pi1", "mem=240M", bootLimit}
	// model2 is a Raspberry Pi 2. Only one of its processors is switched on, and its
	// kernel waits for no other, since four lock each other up where the emulator counts
	// instructions. The kernel knows of four all the same.
	model2 = model{[]string{"qemu-system-arm", "-global", "bcm2836.enabled-cpus=1"},
		"raspi2b", "1G", "bcm2836-rpi-2-b.dtb", "pi2", "maxcpus=1", 2 * bootLimit}
	// model3 is a Raspberry Pi 3 with the same restriction. The emulator starts it with a
	// kernel of 64 bits only.
	model3 = model{[]string{"qemu-system-aarch64", "-global", "bcm2837.enabled-cpus=1"},
		"raspi3b", "1G", "bcm2837-rpi-3-b.dtb", "pi3", "maxcpus=1", 2 * bootLimit}
)

// newBoard puts a new card, written from the image, into a board. more are the emulator's
// arguments for its network, in which %s is the board's hardware address.
func newBoard(t *testing.T, image, serial string, more ...string) *emulatedBoard {
	t.Helper()
	folder, err := os.MkdirTemp("", "pi-") // short: sockets have paths of at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	b := &emulatedBoard{t: t, model: modelB, name: "board-" + serial, folder: folder, card: filepath.Join(folder, "card.img"), serial: serial}
	tail := serial[len(serial)-4:]
	// First boards' addresses begin so. With a locally administered address the kernel
	// would call the interface usb0.
	mac := "b8:27:eb:00:" + tail[:2] + ":" + tail[2:]
	for _, word := range more {
		b.net = append(b.net, strings.ReplaceAll(word, "%s", mac))
	}
	t.Cleanup(func() {
		b.cutPower()
		if t.Failed() {
			t.Logf("%s: the end of the serial output\n%s", b.name, lastBytes(b.serialText(), 4000))
		}
		if *keep != "" {
			_ = os.Mkdir(*keep, 0o755)
			if logs, err := filepath.Glob(filepath.Join(folder, "serial-*.log")); err == nil {
				for _, log := range logs {
					text, _ := os.ReadFile(log)
					_ = os.WriteFile(filepath.Join(*keep, t.Name()+"-"+b.name+"-"+filepath.Base(log)), text, 0o644)
				}
			}
		}
		os.RemoveAll(folder)
	})
	content, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.card, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(b.card, cardBytes); err != nil {
		t.Fatal(err)
	}
	return b
}

// start switches the board on.
func (e *emulatedBoard) start() {
	e.t.Helper()
	f := e.loadFirmware()
	e.boots++
	serial := filepath.Join(e.folder, "serial.sock")
	os.Remove(serial)
	os.Remove(e.registersSocket())
	e.registers = nil
	args := slices.Concat(e.model.emulator[1:], []string{
		"-M", e.model.machine, "-m", e.model.memory, "-kernel", f.kernel, "-dtb", f.tree, "-initrd", f.initrd, "-append", f.line,
		"-display", "none", "-icount", "shift=1,sleep=on,align=off", "-no-reboot",
		"-chardev", "socket,id=ser,path=" + serial + ",server=on,wait=off,logfile=" + e.logFile(), "-serial", "chardev:ser",
		"-monitor", "none", "-qtest", "unix:" + e.registersSocket() + ",server=on,wait=off", "-qtest-log", "/dev/null",
		"-drive", "file=" + e.card + ",if=sd,format=raw",
	}, e.net)
	e.cmd = exec.Command(e.model.emulator[0], args...)
	said, err := os.Create(filepath.Join(e.folder, fmt.Sprintf("qemu-%d.log", e.boots)))
	if err != nil {
		e.t.Fatal(err)
	}
	e.cmd.Stdout, e.cmd.Stderr = said, said
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // no board outlives its test
	if err := e.cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	said.Close()
	e.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait() // it is killed, mostly
		close(exited)
	}(e.cmd, e.exited)
	waitUntil(e.t, 20*time.Second, e.name+"'s serial line", func() error {
		e.input, err = net.Dial("unix", serial)
		return err
	})
	// The board waits if nobody reads its serial line.
	e.unread.Go(func() { _, _ = io.Copy(io.Discard, e.input) })
	e.openRegisters()
}

// cutPower ends the emulator as a pulled plug does.
func (e *emulatedBoard) cutPower() {
	if e.cmd == nil {
		return
	}
	_ = e.cmd.Process.Kill() // it may be gone
	<-e.exited
	e.input.Close()
	if e.registers != nil {
		e.registers.c.Close()
	}
	e.unread.Wait()
	e.cmd = nil
	e.asked = 0
}

// logFile is the file with the serial output since the board's start.
func (e *emulatedBoard) logFile() string {
	return filepath.Join(e.folder, fmt.Sprintf("serial-%d.log", e.boots))
}

// serialText returns that file's text.
func (e *emulatedBoard) serialText() string {
	text, err := os.ReadFile(e.logFile())
	if err != nil {
		return err.Error()
	}
	return strings.ReplaceAll(string(text), "\r", "")
}

// waitSerial waits for a line of the serial console, and returns what the
// pattern's first group matched, or the whole.
func (e *emulatedBoard) waitSerial(limit time.Duration, pattern string) string {
	e.t.Helper()
	re := regexp.MustCompile(pattern)
	var found []string
	waitUntil(e.t, limit, e.name+" to say "+pattern, func() error {
		text := e.serialText()
		if found = re.FindStringSubmatch(text); found != nil {
			return nil
		}
		if e.hasEnded() {
			return errors.New("the emulator has ended; the last of the serial line:\n" + lastBytes(text, 3000))
		}
		return errors.New("the last of the serial line:\n" + lastBytes(text, 3000))
	})
	return found[len(found)-1]
}

func (e *emulatedBoard) hasEnded() bool {
	select {
	case <-e.exited:
		return true
	default:
		return false
	}
}

// runShell runs a command in the shell on the serial line, and returns its output, without
// the lines that kernel and board print meanwhile.
func (e *emulatedBoard) runShell(command string) string {
	e.t.Helper()
	if e.asked == 0 {
		e.waitSerial(e.model.boot, `Please press Enter`)
	}
	e.asked++
	// The mark is split, so that the echo of the command does not look like it.
	mark := fmt.Sprintf("%d-%d", e.boots, e.asked)
	line := fmt.Sprintf("\necho; echo be''gin-%s; %s; echo; echo e''nd-%s\n", mark, command, mark)
	if _, err := io.WriteString(e.input, line); err != nil {
		e.t.Fatal(err)
	}
	text := e.waitSerial(e.model.boot, `(?s)begin-`+mark+`\n(.*?)\nend-`+mark)
	var lines []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "bramble: ") && !strings.HasPrefix(line, "[") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// waitUntil waits until holds returns nil, and fails with its last error otherwise.
func waitUntil(t testing.TB, limit time.Duration, what string, holds func() error) {
	t.Helper()
	end := time.Now().Add(limit)
	for {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func lastBytes(text string, n int) string { return text[max(0, len(text)-n):] }
