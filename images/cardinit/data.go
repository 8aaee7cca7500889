package cardinit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// fsckTimeout bounds a check of the data partition. A full check of a 32 GB card
	// that is half full takes some minutes on a first Pi.
	fsckTimeout = 20 * time.Minute
	// mkfsTimeout bounds creating or growing the file system.
	mkfsTimeout = 10 * time.Minute
	// dataOptions: metadata is written at most once a minute; the ledger syncs what
	// must be on the card. A broken file system becomes read-only at once.
	dataOptions = "commit=60,errors=remount-ro"
)

// checkResult is the result of a check of the data partition.
type checkResult int

const (
	checkClean checkResult = iota
	checkRepaired
	checkNeedsForce // the automatic repairs were not enough
	checkHopeless   // beyond repair
	checkNotRun     // the check itself could not run
)

// interpretFsck interprets e2fsck's exit codes (e2fsck(8)), which are bits. forced
// means that it was allowed to make every repair.
func interpretFsck(code int, forced bool) checkResult {
	const (
		corrected, reboot, left, operational = 1, 2, 4, 8
	)
	switch {
	case code == 0:
		return checkClean
	case code < 0 || code&^(corrected|reboot|left|operational) != 0: // usage, cancelled, a library is missing
		return checkNotRun
	case code&(left|operational) != 0 && forced:
		return checkHopeless
	case code&(left|operational) != 0: // a missing superblock is "operational" too
		return checkNeedsForce
	}
	return checkRepaired
}

// dataPartition is the state of the data partition after openData.
type dataPartition struct {
	mounted   bool
	summary   string // for the console: "clean", "repaired", "recreated (why)"
	recreated string // why, if it was
	grown     int64  // the new size in bytes, if it was grown
}

// openData checks, repairs, mounts and grows the data partition. If it returns an
// error, the board serves pages and accepts no orders.
func openData(ctx context.Context, system System, p Paths) (dataPartition, error) {
	device := p.Partition(dataPartNumber)
	if isMounted(p, p.Data) { // this program itself was restarted
		return dataPartition{mounted: true, summary: "in use already"}, nil
	}
	size, larger, err := growTable(p.Disk, dataPartNumber)
	growErr := err // the partition may do as it is
	if larger {
		if err := system.GrowPartition(p.Disk, dataPartNumber, int64(size.start)*sectorSize, int64(size.length)*sectorSize); err != nil {
			growErr = err // the next boot's kernel reads it from the table
		}
	}
	d, err := checkData(ctx, system, device)
	if err != nil {
		return d, errors.Join(err, growErr)
	}
	err = system.Mount(device, p.Data, "ext4", dataOptions, false)
	if err != nil && d.recreated == "" {
		d = dataPartition{recreated: "it could not be mounted"}
		if err = makeFilesystem(ctx, system, device); err == nil {
			err = system.Mount(device, p.Data, "ext4", dataOptions, false)
		}
	}
	if err != nil {
		return d, errors.Join(err, growErr)
	}
	d.mounted = true
	// Find a card that has become read-only now, and not with the first order.
	if err := replaceFile(p.SavedFile("writable"), nil); err != nil {
		return d, fmt.Errorf("the card cannot be written: %w", err)
	}
	if d.recreated != "" {
		d.summary = "recreated (" + d.recreated + ")"
		note := fmt.Sprintf("%s\n%s\n", time.Now().UTC().Format(time.RFC3339), d.recreated)
		if err := replaceFile(p.SavedFile(recreatedStateFile), []byte(note)); err != nil {
			return d, fmt.Errorf("the card cannot be written: %w", err)
		}
	}
	if d.grown, err = growFilesystem(ctx, system, device); err != nil {
		growErr = errors.Join(growErr, err)
	}
	if d.grown > 0 {
		d.summary += fmt.Sprintf("; grown to %d MB", d.grown/1_000_000)
	}
	if growErr != nil {
		d.summary += "; it could not be grown: " + growErr.Error()
	}
	return d, nil
}

// checkData runs e2fsck, which repairs anything that can be repaired. It creates a
// new file system if e2fsck gives up.
func checkData(ctx context.Context, system System, device string) (dataPartition, error) {
	check := func(args ...string) (int, string, error) {
		ctx, cancel := context.WithTimeout(ctx, fsckTimeout)
		defer cancel()
		return system.Run(ctx, "e2fsck", append(args, device)...)
	}
	code, output, err := check("-p")
	if err != nil {
		return dataPartition{summary: "not checked: " + err.Error()}, nil
	}
	result := interpretFsck(code, false)
	if result == checkNeedsForce {
		if code, output, err = check("-f", "-y"); err != nil {
			return dataPartition{}, err
		}
		result = interpretFsck(code, true)
	}
	switch result {
	case checkClean:
		return dataPartition{summary: "clean"}, nil
	case checkRepaired:
		return dataPartition{summary: "repaired"}, nil
	case checkNotRun:
		return dataPartition{summary: fmt.Sprintf("not checked: e2fsck ended with %d: %s", code, lastOutputLine(output))}, nil
	}
	d := dataPartition{recreated: fmt.Sprintf("e2fsck gave up with exit code %d: %s", code, lastOutputLine(output))}
	return d, makeFilesystem(ctx, system, device)
}

// makeFilesystem creates an empty file system. The rack fills it: the board comes
// back to the ledger as a new server.
func makeFilesystem(ctx context.Context, system System, device string) error {
	// The inode tables are written when they are needed. Writing them now would take
	// minutes on a large card.
	_, err := runToEnd(ctx, system, mkfsTimeout, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "bramble-data", "-E", "lazy_itable_init=1,lazy_journal_init=1", device)
	if err != nil {
		return fmt.Errorf("the data partition can be neither read nor recreated (%w): replace the card", err)
	}
	return nil
}

// runToEnd runs a program for at most limit. Any exit code but 0 is an error.
func runToEnd(ctx context.Context, system System, limit time.Duration, name string, args ...string) (output string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	code, output, err := system.Run(ctx, name, args...)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s ended with %d: %s", name, code, lastOutputLine(output))
	}
	return output, err
}

// growFilesystem grows the mounted file system to fill its partition. The kernel
// does it through the journal, so that a power cut does no damage. It returns the
// new size in bytes, 0 if there was nothing to do.
func growFilesystem(ctx context.Context, system System, device string) (int64, error) {
	output, err := runToEnd(ctx, system, mkfsTimeout, "resize2fs", device)
	if err != nil {
		return 0, err
	}
	// "The filesystem on /dev/x is now 7741440 (4k) blocks long.", or it is already.
	var blocks, kilobytes int64
	_, size, _ := strings.Cut(output, " is now ")
	if _, err := fmt.Sscanf(size, "%d (%dk)", &blocks, &kilobytes); err != nil {
		return 0, nil
	}
	return blocks * kilobytes << 10, nil
}

// isMounted reports whether something is mounted at a folder.
func isMounted(p Paths, target string) bool { return mountedAt(p, target) != "" }

// mountedAt returns the device that was mounted last at a folder, "" for none (proc(5), mountinfo:
// the fifth field is the folder; after a hyphen come the kind and the device).
func mountedAt(p Paths, target string) (device string) {
	text, _ := os.ReadFile(filepath.Join(p.Proc, "self", "mountinfo")) // without the file: nothing
	for line := range strings.Lines(string(text)) {
		own, tail, _ := strings.Cut(line, " - ")
		if at, of := strings.Fields(own), strings.Fields(tail); len(at) > 4 && at[4] == target && len(of) > 1 {
			device = of[1]
		}
	}
	return device
}
