//go:build linux

package images

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"bramble/node/backup"
)

// plugBoard is the emulator's control socket, by which sticks are plugged in and pulled out.
type plugBoard struct {
	t       *testing.T
	c       net.Conn
	replies *bufio.Scanner
}

func (e *emulatedBoard) plugSocket() string { return filepath.Join(e.folder, "plug.sock") }

func (e *emulatedBoard) openPlugs() *plugBoard {
	e.t.Helper()
	p := &plugBoard{t: e.t}
	waitUntil(e.t, 20*time.Second, "the emulator's control socket", func() (err error) {
		p.c, err = net.Dial("unix", e.plugSocket())
		return err
	})
	e.t.Cleanup(func() { p.c.Close() })
	p.replies = bufio.NewScanner(p.c)
	p.command("qmp_capabilities", map[string]any{})
	return p
}

func (p *plugBoard) command(name string, arguments map[string]any) {
	p.t.Helper()
	line, err := json.Marshal(map[string]any{"execute": name, "arguments": arguments})
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.c.Write(append(line, '\n')); err != nil {
		p.t.Fatal(err)
	}
	for p.replies.Scan() {
		switch text := p.replies.Text(); {
		case strings.HasPrefix(text, `{"error"`):
			p.t.Fatalf("%s: %s", line, text)
		case strings.HasPrefix(text, `{"return"`):
			return
		}
	}
	p.t.Fatalf("%s: the emulator has ended (%v)", line, p.replies.Err())
}

func (p *plugBoard) plugIn(stick string) {
	p.t.Helper()
	p.command("device_add", map[string]any{"driver": "usb-storage", "id": stick, "drive": stick})
}

func (p *plugBoard) pullOut(stick string) {
	p.t.Helper()
	p.command("device_del", map[string]any{"id": stick})
}

// newStick returns the file of a stick with a first partition, and the partition's offset.
func newStick(t *testing.T, folder, name, mkfs string, args ...string) (file string, at int) {
	t.Helper()
	const size, first = 48 << 20, 2048
	file = filepath.Join(folder, name)
	table := make([]byte, sector)
	entry := table[446:]
	entry[4] = 0x0c
	binary.LittleEndian.PutUint32(entry[8:], first)
	binary.LittleEndian.PutUint32(entry[12:], size/sector-first)
	table[510], table[511] = 0x55, 0xaa
	if err := errors.Join(os.WriteFile(file, table, 0o600), os.Truncate(file, size)); err != nil {
		t.Fatal(err)
	}
	if mkfs != "" {
		if out, err := exec.Command(mkfs, append(args, file)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", mkfs, err, out)
		}
	}
	return file, first * sector
}

// fillStick leaves less room on a stick than a backup needs.
func fillStick(t *testing.T, stick string, at int) {
	t.Helper()
	for _, size := range []int{1 << 20, 32 << 10, 512} {
		for n := 0; ; n++ {
			from := exec.Command("mcopy", "-n", "-i", fmt.Sprintf("%s@@%d", stick, at), "-", fmt.Sprintf("::/%d-%d", size, n))
			from.Stdin = bytes.NewReader(make([]byte, size))
			if from.Run() != nil {
				break
			}
		}
	}
}

// A stick that is plugged in gets the backups, again after it was pulled out and plugged in;
// and what was finished is on it although nobody unmounted it.
func TestACardWritesBackupsToAStick(t *testing.T) {
	skipUnlessBoards(t)
	image, inside := inNamespace(t, 20*time.Minute)
	if !inside {
		return
	}
	loopbackUp(t)
	b := newBoard(t, image, "00000000cafe1a2b",
		"-netdev", "user,id=n0,hostfwd=tcp:127.0.0.1:8001-:80,hostfwd=tcp:127.0.0.1:8002-:8080", "-device", "usb-net,netdev=n0,mac=%s")
	owner, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	b.writeSettings("expected_boards = 1", "ntp = [\"10.0.2.2\"]", "[backup]", `directory = "/usb"`, `interval = "1m"`,
		fmt.Sprintf("recipients = [%q]", owner.Recipient().String()))
	fat, fatAt := newStick(t, b.folder, "fat", "mkfs.vfat", "--offset=2048", "-F", "32", "-s", "1")
	raw, _ := newStick(t, b.folder, "raw", "")
	ext, _ := newStick(t, b.folder, "ext", "mke2fs", "-q", "-F", "-t", "ext4", "-E", "offset=1048576")
	locked, _ := newStick(t, b.folder, "locked", "mkfs.vfat", "--offset=2048", "-F", "32", "-s", "1")
	full, fullAt := newStick(t, b.folder, "full", "mkfs.vfat", "--offset=2048", "-F", "32", "-s", "1")
	fillStick(t, full, fullAt)
	b.net = append(b.net, "-qmp", "unix:"+b.plugSocket()+",server=on,wait=off")
	for _, file := range []string{fat, raw, ext, locked, full} {
		b.net = append(b.net, "-blockdev", "driver=raw,node-name="+filepath.Base(file)+",file.driver=file,file.filename="+file)
	}
	b.net[len(b.net)-3] += ",read-only=on"
	b.start()
	plugs := b.openPlugs()
	b.waitSerial(bootLimit, `bramble: board bramble-1a2b starts, slot a, `)
	const shop, ops = "http://127.0.0.1:8001", "https://127.0.0.1:8002"
	b.waitPage(shop+"/p/berry", "A berry.")
	notice := func(words string) {
		t.Helper()
		waitUntil(t, 2*bootLimit, words, func() error {
			s, err := consoleSnapshot(t.Context(), ops)
			if err == nil && !strings.Contains(strings.Join(s.Notices, "\n"), words) {
				err = fmt.Errorf("%q", s.Notices)
			}
			return err
		})
	}
	notice("there is no folder /usb: plug in")

	backups := func() []string {
		// The board's log can stand between the names.
		return slices.DeleteFunc(strings.Fields(b.runShell("ls /usb 2>/dev/null | grep age$")), func(word string) bool {
			return !strings.HasPrefix(word, "bramble-") || !strings.HasSuffix(word, ".age")
		})
	}
	has := func(count int) []string {
		t.Helper()
		var names []string
		waitUntil(t, 2*bootLimit, fmt.Sprintf("%d backups", count), func() error {
			if names = backups(); len(names) < count {
				return fmt.Errorf("%q", names)
			}
			return nil
		})
		return names
	}
	plugs.plugIn("fat")
	b.waitSerial(bootLimit, `USB stick sda1 is mounted at /usb, vfat, (\d+) MB free`)
	first := has(1)[0]
	plugs.plugIn("ext")
	b.waitSerial(bootLimit, `USB stick sdb is not used while sda1 is plugged in`)
	plugs.pullOut("fat")
	b.waitSerial(bootLimit, `USB stick sda1 was pulled out`)
	b.waitSerial(bootLimit, `USB stick sdb1 is mounted at /usb, ext4`)
	plugs.pullOut("ext")
	b.waitSerial(bootLimit, `USB stick sdb1 was pulled out`)
	if said := b.runShell("ls -d /usb; grep usb /proc/mounts"); !strings.Contains(said, "No such file") || strings.Contains(said, "/dev/sd") {
		t.Errorf("without a stick: %s", said)
	}
	plugs.plugIn("raw")
	notice("format it as FAT32")
	plugs.pullOut("raw")
	plugs.plugIn("locked")
	notice("protected against writing, move its switch")
	plugs.pullOut("locked")
	plugs.plugIn("fat")
	if names := has(2); names[0] != first {
		t.Errorf("%s is gone: %v", first, names)
	}
	names := backups()
	plugs.pullOut("fat")
	for _, name := range names {
		var file bytes.Buffer
		read := exec.Command("mcopy", "-n", "-i", fmt.Sprintf("%s@@%d", fat, fatAt), "::/"+name, "-")
		read.Stdout = &file
		if err := read.Run(); err != nil {
			t.Fatalf("%s is not on the stick: %v", name, err)
		}
		keyring, err := backup.NewIdentitiesKeyring(strings.NewReader(owner.String()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keyring.Open(&file, backup.CheckBook); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !slices.Contains(names, first) {
		t.Errorf("%v lacks %s", names, first)
	}
	// Last, because the next try is minutes later.
	plugs.plugIn("full")
	notice("no space left on device: remove files there")
	b.waitPage(shop+"/p/berry", "A berry.") // the network is on the same bus
}
