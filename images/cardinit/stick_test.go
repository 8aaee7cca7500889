package cardinit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// stickRig is a watcher on a fake system whose kernel knows disks.
type stickRig struct {
	t      *testing.T
	paths  Paths
	system *fakeSystem
	*stickWatcher
	said []string
}

func newStickRig(t *testing.T) *stickRig {
	r := &stickRig{t: t, paths: fakePaths(t), system: newFakeSystem()}
	r.restart()
	return r
}

// restart is a restart of the card's init.
func (r *stickRig) restart() {
	r.stickWatcher = newStickWatcher(r.system, r.paths, func(format string, args ...any) { r.said = append(r.said, fmt.Sprintf(format, args...)) })
}

// plug plugs a disk in. bus is its place below /sys/devices; partitions are numbers.
func (r *stickRig) plug(disk, bus string, partitions ...int) {
	r.t.Helper()
	at := filepath.Join("devices", bus, "block", disk)
	files := map[string]string{at + "/size": "1000\n"}
	for _, n := range partitions {
		files[fmt.Sprintf("%s/%s%d/partition", at, disk, n)] = "1\n"
	}
	writeFiles(r.t, r.paths.Sys, files)
	if err := errors.Join(os.MkdirAll(filepath.Join(r.paths.Sys, "block"), 0o755),
		os.Symlink(filepath.Join(r.paths.Sys, at), filepath.Join(r.paths.Sys, "block", disk))); err != nil {
		r.t.Fatal(err)
	}
}

func (r *stickRig) pull(disk string) {
	if err := os.Remove(filepath.Join(r.paths.Sys, "block", disk)); err != nil {
		r.t.Fatal(err)
	}
}

// look checks once, has the kernel's table follow, and returns what was logged.
func (r *stickRig) look() string {
	r.t.Helper()
	r.said = nil
	before := len(r.system.commandsWith(""))
	r.checkSticks()
	for _, line := range r.system.commandsWith("")[before:] {
		switch words := strings.Fields(line); words[0] {
		case "mount":
			r.setMounts(words[1])
		case "unmount":
			r.setMounts("")
		}
	}
	return strings.Join(r.said, "; ")
}

// setMounts sets what the kernel has mounted; "": nothing.
func (r *stickRig) setMounts(part string) {
	text := "28 22 179:2 / " + r.paths.Data + " rw,noatime - ext4 /dev/mmcblk0p2 rw\n"
	if part != "" {
		text += "29 22 8:1 / " + r.target + " rw,noatime - vfat " + "/dev/" + part + " rw,errors=remount-ro\n"
	}
	writeFiles(r.t, r.paths.Proc, map[string]string{"self/mountinfo": text})
}

func (r *stickRig) isLinked() bool {
	_, err := os.Lstat(r.paths.Stick)
	return err == nil
}

const stickBus = "platform/soc/20980000.usb/usb1/1-1/1-1.2/host0"

func TestMountedAt(t *testing.T) {
	p := fakePaths(t)
	writeFiles(t, p.Proc, map[string]string{"self/mountinfo": "28 22 179:2 / /data rw,noatime - ext4 /dev/mmcblk0p2 rw\n" +
		"29 22 8:1 / /run/usb rw,nosuid shared:1 - vfat /dev/sda1 ro,errors=remount-ro\n" + "cut\n30 22 0:1 / /cut rw - vfat\n"})
	for target, want := range map[string]string{"/data": "/dev/mmcblk0p2", "/run/usb": "/dev/sda1", "/run": "", "/cut": ""} {
		if got := mountedAt(p, target); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

func TestFindSticks(t *testing.T) {
	r := newStickRig(t)
	r.plug("mmcblk0", "platform/soc/20300000.mmc/mmc_host/mmc0", 1, 2)
	r.plug("sda", stickBus, 5, 6)
	r.plug("sdb", stickBus)
	r.plug("sdc", "pci0000:00/ata1/host1", 1)
	r.plug("sdd", stickBus)
	writeFiles(t, r.paths.Sys, map[string]string{"devices/" + stickBus + "/block/sdb/size": "0\n", "devices/" + stickBus + "/block/sda/diskseq": "7\n"})
	want := []usbStick{{"sda", "sda5", "7\n"}, {"sdd", "sdd", ""}}
	if got := findSticks(r.paths); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestAStickIsMountedWhileItIsPluggedIn(t *testing.T) {
	r := newStickRig(t)
	r.setMounts("")
	if said := r.look(); said != "" || r.isLinked() {
		t.Errorf("without a stick: %s", said)
	}
	r.plug("sda", stickBus, 1)
	if said := r.look(); said != "USB stick sda1 is mounted at "+r.paths.Stick+", ext4, 1073 MB free" || !r.isLinked() {
		t.Errorf("%s", said)
	}
	r.plug("sdb", stickBus)
	if said := r.look(); said != "USB stick sdb is not used while sda1 is plugged in: one at a time" {
		t.Errorf("a second: %s", said)
	}
	r.restart()
	if said := r.look(); !strings.Contains(said, "sdb is not used") || len(r.system.commandsWith("mount")) != 1 {
		t.Errorf("after a restart of this program: %s, %v", said, r.system.commandsWith("mount"))
	}
	if said := r.look(); said != "" {
		t.Errorf("again: %s", said)
	}
	r.pull("sda")
	if said := r.look(); !strings.HasPrefix(said, "USB stick sda1 was pulled out; USB stick sdb is mounted") || !r.isLinked() {
		t.Errorf("pulled out: %s", said)
	}
	if got := strings.Join(r.system.commandsWith(""), ", "); got != "mount sda1 ext4 rw, unmount usb, mount sdb ext4 rw" {
		t.Error(got)
	}
	r.pull("sdb")
	if r.look(); r.isLinked() {
		t.Error("the folder is there without a stick")
	}
	if all := Notices(r.paths); len(all) != 0 {
		t.Errorf("%v", all)
	}
}

func TestSticksThatCannotBeUsed(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"unknown":   {errors.New("invalid argument"), "(invalid argument): format it as FAT32, exFAT or ext4"},
		"protected": {fmt.Errorf("mounting: %w", syscall.EROFS), "protected against writing, move its switch"},
	} {
		r := newStickRig(t)
		r.system.mountErrs = []error{tt.err, tt.err, tt.err}
		r.plug("sda", stickBus, 1)
		if said := r.look(); !strings.Contains(said, tt.want) || r.isLinked() || len(r.system.commandsWith("mount")) != 3 {
			t.Errorf("%s: %s, %v", name, said, r.system.commandsWith("mount"))
		}
		r.setMounts("")
		if all := Notices(r.paths); len(all) != 1 || !strings.Contains(all[0], tt.want) {
			t.Errorf("%s: %v", name, all)
		}
		if said := r.look(); said != "" {
			t.Errorf("%s, again: %s", name, said)
		}
		// A good one, in its place since the last look.
		writeFiles(t, r.paths.Sys, map[string]string{"devices/" + stickBus + "/block/sda/diskseq": "2\n"})
		if said := r.look(); !strings.Contains(said, "USB stick sda1 is mounted") || len(Notices(r.paths)) != 0 {
			t.Errorf("%s, and a good one: %s, %v", name, said, Notices(r.paths))
		}
	}
}

// A file that is open keeps a pulled stick mounted, but not its link; another life of this program
// goes on there.
func TestAPulledStickThatIsInUse(t *testing.T) {
	r := newStickRig(t)
	r.plug("sda", stickBus, 1)
	r.look()
	r.system.unmountErr = errors.New("busy")
	r.pull("sda")
	r.plug("sdb", stickBus)
	for range 2 {
		if r.look(); r.isLinked() || len(r.system.commandsWith("mount")) != 1 {
			t.Errorf("linked: %v, %v", r.isLinked(), r.system.commandsWith("mount"))
		}
		r.setMounts("sda1")
		r.restart()
	}
	r.system.unmountErr = nil
	if said := r.look(); !strings.Contains(said, "USB stick sdb is mounted") || !r.isLinked() {
		t.Error(said)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r.run(ctx); r.isLinked() || len(r.system.commandsWith("unmount")) != 4 {
		t.Errorf("at the end: %v, %v", r.isLinked(), r.system.commandsWith("unmount"))
	}
}
