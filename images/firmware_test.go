//go:build linux

package images

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// firmware is what a board's firmware loads for its kernel. The emulator has no firmware,
// so the test plays it: it reads the same files by the same rules.
type firmware struct{ kernel, initrd, tree, line string }

func (e *emulatedBoard) loadFirmware() firmware {
	e.t.Helper()
	f, prefix, section := firmware{}, "", "all"
	for line := range strings.Lines(e.readFile("config.txt")) {
		line = strings.TrimSpace(line)
		key, value, _ := strings.Cut(line, "=")
		if name, found := strings.CutPrefix(line, "["); found {
			section = strings.TrimSuffix(name, "]")
			continue
		}
		if section != "all" && section != e.model.section {
			continue
		}
		switch {
		case key == "os_prefix":
			prefix = value
		case key == "kernel":
			f.kernel = value
		case strings.HasPrefix(line, "initramfs "):
			f.initrd = strings.Fields(line)[1]
		}
	}
	if e.trial != "" {
		prefix = e.trial + "/"
	}
	fetch := func(name string) string {
		file := filepath.Join(e.folder, name)
		if err := os.WriteFile(file, []byte(e.readFile(prefix+name)), 0o600); err != nil {
			e.t.Fatal(err)
		}
		return file
	}
	f.kernel, f.initrd, f.tree = fetch(f.kernel), fetch(f.initrd), fetch(e.model.deviceTree)
	e.freeSerial(f.tree)
	if e.extra != nil {
		e.appendArchive(f.initrd, e.extra)
	}
	var params []string
	for _, param := range strings.Fields(e.readFile(prefix + "cmdline.txt")) {
		// Opening the chip's watchdog resets the emulator at once.
		if e.watchdog || param != "bramble.watchdog=1" {
			params = append(params, param)
		}
	}
	params = append(params, e.model.kernelParams, "bramble.serial="+e.serial,
		"initcall_blacklist=bcm2835_power_driver_init") // it panics in the emulator, not on a board
	if !e.jumps {
		params = append(params, "bramble.kexec=0") // the emulator's USB is dead to a second kernel
	}
	if e.trial != "" {
		params = append(params, "bramble.trial=1")
	}
	f.line = strings.Join(params, " ")
	return f
}

// freeSerial removes Bluetooth from the serial line in a device tree: the emulator has
// none, and Linux makes no terminal of a line that another device uses.
func (e *emulatedBoard) freeSerial(tree string) {
	e.t.Helper()
	content, err := os.ReadFile(tree)
	if err != nil {
		e.t.Fatal(err)
	}
	at := bytes.Index(content, []byte("brcm,bcm43438-bt\x00"))
	if at < 0 {
		return
	}
	// The value of the property "compatible" (Devicetree Specification, 5.4): its
	// token, length and name come before it, and no-operations in its place.
	const head = 12
	length := int(binary.BigEndian.Uint32(content[at-8:]))
	for i := at - head; i < at+length; i += 4 {
		binary.BigEndian.PutUint32(content[i:], 4)
	}
	if err := os.WriteFile(tree, content, 0o600); err != nil {
		e.t.Fatal(err)
	}
}

// tryNext starts the board again if it has restarted for a trial of its other slot, as
// firmware with tryboot would.
func (e *emulatedBoard) tryNext() {
	e.t.Helper()
	if !e.hasEnded() {
		return
	}
	asked := regexp.MustCompile(`bramble: restarting into slot ([ab]) \(try\)`).FindStringSubmatch(e.serialText())
	if asked == nil {
		e.t.Fatalf("%s has ended; the last of the serial line:\n%s", e.name, lastBytes(e.serialText(), 3000))
	}
	e.cutPower()
	e.trial = asked[1]
	e.start()
	e.trial = ""
}

// appendArchive adds an archive to a start-up file system: the kernel unpacks one after
// the other, where each begins at a multiple of four bytes.
func (e *emulatedBoard) appendArchive(file string, archive []byte) {
	e.t.Helper()
	first, err := os.ReadFile(file)
	if err != nil {
		e.t.Fatal(err)
	}
	first = append(first, make([]byte, -len(first)&3)...)
	if err := os.WriteFile(file, append(first, archive...), 0o600); err != nil {
		e.t.Fatal(err)
	}
}

// bootPartitionAt names the boot partition for mtools.
func bootPartitionAt(card string) string { return fmt.Sprintf("%s@@%d", card, bootStart) }

// readFile reads a file of the boot partition while the board is off.
func (e *emulatedBoard) readFile(name string) string {
	e.t.Helper()
	out, err := exec.Command("mcopy", "-n", "-i", bootPartitionAt(e.card), "::/"+name, "-").Output()
	if err != nil {
		e.t.Fatalf("reading %s of the card: %v", name, err)
	}
	return string(out)
}

// writeFile writes a file to the boot partition, as a laptop does.
func (e *emulatedBoard) writeFile(name, content string) {
	e.t.Helper()
	cmd := exec.Command("mcopy", "-o", "-i", bootPartitionAt(e.card), "-", "::/"+name)
	cmd.Stdin = strings.NewReader(content)
	if out, err := cmd.CombinedOutput(); err != nil {
		e.t.Fatalf("writing %s to the card: %v: %s", name, err, out)
	}
}

// copyPartition copies one partition of a card to a file.
func copyPartition(t *testing.T, card string, number int) string {
	t.Helper()
	content, err := os.ReadFile(card)
	if err != nil {
		t.Fatal(err)
	}
	start, length := partitionEntry(content, number)
	file := filepath.Join(t.TempDir(), fmt.Sprintf("p%d", number))
	if err := os.WriteFile(file, content[start:start+length], 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// partitionEntry returns the position of a partition, in bytes.
func partitionEntry(card []byte, number int) (start, length int64) {
	e := card[446+16*(number-1):]
	uint32At := func(at int) int64 {
		return int64(e[at]) | int64(e[at+1])<<8 | int64(e[at+2])<<16 | int64(e[at+3])<<24
	}
	return uint32At(8) * sector, uint32At(12) * sector
}

// checkFAT and checkExt4 fail if a file system is damaged. They change nothing, and report
// everything that they find.
func checkFAT(t *testing.T, card string) {
	t.Helper()
	out, err := exec.Command("/usr/sbin/fsck.vfat", "-nv", copyPartition(t, card, 1)).CombinedOutput()
	if err != nil {
		t.Errorf("the boot partition: %v\n%s", err, out)
	}
}

func checkExt4(t *testing.T, card string) {
	t.Helper()
	out, err := exec.Command("/usr/sbin/e2fsck", "-fn", copyPartition(t, card, 2)).CombinedOutput()
	if err != nil {
		t.Errorf("the data partition: %v\n%s", err, out)
	}
}
