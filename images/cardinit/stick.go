package cardinit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// stickPollInterval is the interval at which plugged and pulled sticks are noticed.
const stickPollInterval = 2 * time.Second

// usbStick is a disk on USB. Its sequence is a number that the kernel gives no other disk: another
// stick, plugged in between two looks, can have the same name.
type usbStick struct{ disk, part, sequence string }

// findSticks returns the disks on USB that have a medium, in the order of their names, each with
// its first partition, or itself. The SD card is on no USB and can never be among them.
func findSticks(p Paths) (sticks []usbStick) {
	disks, _ := filepath.Glob(filepath.Join(p.Sys, "block", "sd*")) // the pattern is correct
	for _, link := range disks {
		at, err := filepath.EvalSymlinks(link)
		size, _ := os.ReadFile(filepath.Join(at, "size")) // without it: no medium
		if err != nil || !strings.Contains(at, "/usb") || strings.Trim(string(size), "0\n") == "" {
			continue
		}
		sequence, _ := os.ReadFile(filepath.Join(at, "diskseq")) // Linux has it since 5.15
		one := usbStick{filepath.Base(link), filepath.Base(link), string(sequence)}
		if parts, _ := filepath.Glob(filepath.Join(at, one.disk+"*", "partition")); len(parts) > 0 {
			one.part = filepath.Base(filepath.Dir(parts[0]))
		}
		sticks = append(sticks, one)
	}
	return sticks
}

// stickWatcher mounts the first stick that can be used, for as long as it is plugged in. The link
// Paths.Stick exists only then: a program that writes below it cannot fill the memory instead.
type stickWatcher struct {
	system  System
	paths   Paths
	logf    func(format string, args ...any)
	target  string              // the folder that the link leads to
	refused map[usbStick]string // sticks that cannot be used, and why
	fault   string              // what the state file says, which at first an earlier run has written
	second  string              // the stick that the log has called the second
}

func newStickWatcher(system System, p Paths, logf func(string, ...any)) *stickWatcher {
	return &stickWatcher{system: system, paths: p, logf: logf, target: filepath.Join(p.Run, "usb"), refused: map[usbStick]string{}, fault: "not told yet"}
}

// run watches until ctx ends, and unmounts the stick then.
func (s *stickWatcher) run(ctx context.Context) {
	for ctx.Err() == nil {
		s.checkSticks()
		sleep(ctx, stickPollInterval)
	}
	_ = os.Remove(s.paths.Stick) // mostly there is none
	if isMounted(s.paths, s.target) {
		if err := s.system.Unmount(s.target); err != nil {
			s.logf("USB stick: %v", err)
		}
	}
}

// checkSticks does what one look shows to be due. What is mounted is asked of the kernel, because
// this program may have been restarted.
func (s *stickWatcher) checkSticks() {
	sticks := findSticks(s.paths)
	maps.DeleteFunc(s.refused, func(one usbStick, _ string) bool { return !slices.Contains(sticks, one) })
	used := mountedAt(s.paths, s.target)
	name := filepath.Base(used)
	if used != "" && !slices.ContainsFunc(sticks, func(one usbStick) bool { return one.part == name }) {
		if os.Remove(s.paths.Stick) == nil {
			s.logf("USB stick %s was pulled out", name)
		}
		if err := s.system.Unmount(s.target); err != nil {
			return // a program still has a file open there; the next look tries again
		}
		used = ""
	}
	fault, second := "", ""
	for _, one := range sticks {
		switch {
		case used != "" && one.part != filepath.Base(used) && s.refused[one] == "":
			second = one.disk
		case used == "" && s.mountStick(one):
			used, fault = one.part, ""
		case used == "":
			fault = s.refused[one]
		}
	}
	if used != "" {
		if err := os.Symlink(s.target, s.paths.Stick); err != nil && !errors.Is(err, os.ErrExist) {
			s.logf("%v", err)
		}
	}
	if second != "" && second != s.second {
		s.logf("USB stick %s is not used while %s is plugged in: one at a time", second, filepath.Base(used))
	}
	if s.second = second; fault != s.fault {
		if err := replaceFile(s.paths.StateFile(stickFaultStateFile), []byte(fault)); err != nil {
			s.logf("%v", err)
		}
		s.fault = fault
	}
}

// mountStick mounts a stick for writing, unless it was refused before.
func (s *stickWatcher) mountStick(one usbStick) bool {
	if s.refused[one] != "" {
		return false
	}
	// Backups are synced by the program that writes them; flush makes FAT write after other files, too.
	const masks = "fmask=0077,dmask=0077,errors=remount-ro"
	for _, kind := range [][2]string{{"ext4", "errors=remount-ro"}, {"exfat", masks}, {"vfat", masks + ",flush"}} {
		err := s.system.Mount(filepath.Join(filepath.Dir(s.paths.Disk), one.part), s.target, kind[0], kind[1], false)
		if err == nil {
			free, _, _ := s.system.FreeSpace(s.target) // 0: unknown, and no reason to do without it
			s.logf("USB stick %s is mounted at %s, %s, %d MB free", one.part, s.paths.Stick, kind[0], free/1_000_000)
			return true
		}
		advice := "format it as FAT32, exFAT or ext4 on a computer"
		if errors.Is(err, syscall.EROFS) || errors.Is(err, os.ErrPermission) {
			advice = "it is protected against writing, move its switch"
		}
		s.refused[one] = fmt.Sprintf("USB stick %s cannot be used (%v): %s, or use another one", one.disk, err, advice)
	}
	s.logf("%s", s.refused[one])
	return false
}
