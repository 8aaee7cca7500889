package cardinit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// fsckTimeout bounds a check of the data partition: a full one of a 32 GB card
	// that is half full takes some minutes on a first Pi.
	fsckTimeout = 20 * time.Minute
	// mkfsTimeout bounds making or growing the file system.
	mkfsTimeout = 10 * time.Minute
	// minGrowth is how much larger the partition must be than its file system to
	// be worth growing, in bytes.
	minGrowth = 1 << 20
	// dataOptions: metadata is written at most once a minute; what must be on the
	// card, the ledger syncs by itself. A broken file system stops at once.
	dataOptions = "commit=60,errors=remount-ro"
)

// checkResult is what a check of the data partition has come to.
type checkResult int

const (
	checkClean checkResult = iota
	checkRepaired
	checkNeedsForce // what a machine may repair unasked was not enough
	checkHopeless   // beyond repair
	checkNotRun     // the check itself could not run
)

// interpretFsck is the rule for e2fsck's exit codes (e2fsck(8)), which are bits. hard
// says that it was told to repair whatever it finds.
func interpretFsck(code int, hard bool) checkResult {
	const (
		corrected, reboot, left, operational = 1, 2, 4, 8
	)
	switch {
	case code == 0:
		return checkClean
	case code < 0 || code&^(corrected|reboot|left|operational) != 0: // usage, cancelled, a library is missing
		return checkNotRun
	case code&(left|operational) != 0 && hard:
		return checkHopeless
	case code&(left|operational) != 0: // no superblock is "operational" too
		return checkNeedsForce
	}
	return checkRepaired
}

// dataPartition is what became of the data partition.
type dataPartition struct {
	mounted bool
	summary string // for the console: "clean", "repaired", "re-made (why)"
	remade  string // why, if it was
	grown   int64  // bytes, if it was
}

// openData checks, mends, mounts and grows the data partition. With an error
// the board serves pages and takes no orders.
func openData(ctx context.Context, m System, p Paths) (dataPartition, error) {
	device := p.Partition(dataPartNumber)
	if isMounted(p, p.Data) { // aboard itself was started anew
		return dataPartition{mounted: true, summary: "in use already"}, nil
	}
	size, larger, err := growTable(p.Disk, dataPartNumber)
	tableErr := err // the partition may do as it is
	if larger {
		if err := m.GrowPartition(p.Disk, dataPartNumber, int64(size.start)*sectorSize, int64(size.length)*sectorSize); err != nil {
			tableErr = err // the next boot's kernel reads it from the table
		}
	}
	d, err := checkData(ctx, m, device)
	if err != nil {
		return d, errors.Join(err, tableErr)
	}
	err = m.Mount(device, p.Data, "ext4", dataOptions, false)
	if err != nil && d.remade == "" {
		d = dataPartition{remade: "it could not be mounted"}
		if err = makeFilesystem(ctx, m, device); err == nil {
			err = m.Mount(device, p.Data, "ext4", dataOptions, false)
		}
	}
	if err != nil {
		return d, errors.Join(err, tableErr)
	}
	d.mounted = true
	// A card that has gone read-only is found out now, and not by the first order.
	if err := replaceFile(p.SavedFile("writable"), nil); err != nil {
		return d, fmt.Errorf("the card cannot be written: %w", err)
	}
	if d.remade != "" {
		d.summary = "re-made (" + d.remade + ")"
		note := fmt.Sprintf("%s\n%s\n", time.Now().UTC().Format(time.RFC3339), d.remade)
		if err := replaceFile(p.SavedFile(remadeStateFile), []byte(note)); err != nil {
			return d, fmt.Errorf("the card cannot be written: %w", err)
		}
	}
	if d.grown, err = growFilesystem(ctx, m, device); err != nil {
		tableErr = errors.Join(tableErr, err)
	}
	if d.grown > 0 {
		d.summary += fmt.Sprintf("; grown to %d MB", d.grown/1_000_000)
	}
	if tableErr != nil {
		d.summary += "; it could not be grown: " + tableErr.Error()
	}
	return d, nil
}

// checkData has e2fsck look, and mends what can be mended.
func checkData(ctx context.Context, m System, device string) (dataPartition, error) {
	check := func(args ...string) (int, string, error) {
		ctx, cancel := context.WithTimeout(ctx, fsckTimeout)
		defer cancel()
		return m.Run(ctx, "e2fsck", append(args, device)...)
	}
	code, output, err := check("-p")
	if err != nil {
		return dataPartition{summary: "not checked: " + err.Error()}, nil
	}
	verdict := interpretFsck(code, false)
	if verdict == checkNeedsForce {
		if code, output, err = check("-f", "-y"); err != nil {
			return dataPartition{}, err
		}
		verdict = interpretFsck(code, true)
	}
	switch verdict {
	case checkClean:
		return dataPartition{summary: "clean"}, nil
	case checkRepaired:
		return dataPartition{summary: "repaired"}, nil
	case checkNotRun:
		return dataPartition{summary: fmt.Sprintf("not checked: e2fsck ended with %d: %s", code, lastOutputLine(output))}, nil
	}
	d := dataPartition{remade: fmt.Sprintf("e2fsck gave it up with %d: %s", code, lastOutputLine(output))}
	return d, makeFilesystem(ctx, m, device)
}

// makeFilesystem makes an empty file system. The rack fills it: the board comes back
// to the ledger as a new server.
func makeFilesystem(ctx context.Context, m System, device string) error {
	ctx, cancel := context.WithTimeout(ctx, mkfsTimeout)
	defer cancel()
	// Inode tables are made when they are needed, or a large card would take minutes.
	code, output, err := m.Run(ctx, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "bramble-data", "-E", "lazy_itable_init=1,lazy_journal_init=1", device)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("the data partition can be neither read nor made anew (mke2fs ended with %d: %s): change the card", code, lastOutputLine(output))
	}
	return nil
}

// growFilesystem has the mounted file system fill its partition: the kernel does it
// through the journal, so that a power cut cannot hurt. It returns the new size
// in bytes, 0 if there was nothing to do.
func growFilesystem(ctx context.Context, m System, device string) (int64, error) {
	has, fills, err := measureFilesystem(device)
	if err != nil || has == 0 || fills-has < minGrowth {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, mkfsTimeout)
	defer cancel()
	code, output, err := m.Run(ctx, "resize2fs", device)
	if err != nil {
		return 0, err
	}
	if code != 0 {
		return 0, fmt.Errorf("resize2fs ended with %d: %s", code, lastOutputLine(output))
	}
	return fills, nil
}

// measureFilesystem are those of a file system and of the partition that it is in.
func measureFilesystem(device string) (has, fills int64, err error) {
	f, err := os.Open(device)
	if err != nil {
		return 0, 0, fmt.Errorf("measuring the data partition: %w", err)
	}
	defer f.Close()
	super := make([]byte, superHigh+4)
	if _, err := f.ReadAt(super, superAt); err != nil {
		return 0, 0, fmt.Errorf("reading the data partition: %w", err)
	}
	if fills, err = f.Seek(0, io.SeekEnd); err != nil {
		return 0, 0, fmt.Errorf("measuring the data partition: %w", err)
	}
	return extSize(super), fills, nil
}

// isMounted reports whether something is mounted at a folder (proc(5), mountinfo:
// the fifth field).
func isMounted(p Paths, target string) bool {
	text, err := os.ReadFile(filepath.Join(p.Proc, "self", "mountinfo"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == target {
			return true
		}
	}
	return false
}

// waitForFile waits until a file is there, for at most limit.
func waitForFile(ctx context.Context, file string, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		if _, err := os.Stat(file); err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		sleep(ctx, 100*time.Millisecond)
	}
}

// lastOutputLine is what a program said at the end, for a line on the console.
func lastOutputLine(output string) string {
	last := "it said nothing"
	for _, line := range splitLines(output) {
		if line != "" {
			last = line
		}
	}
	return last[:min(len(last), 200)]
}
