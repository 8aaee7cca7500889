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
	// checkWait bounds a check of the data partition: a full one of a 32 GB card
	// that is half full takes some minutes on a first Pi.
	checkWait = 20 * time.Minute
	// makeWait bounds making or growing the file system.
	makeWait = 10 * time.Minute
	// growFrom is how much larger the partition must be than its file system to
	// be worth growing, in bytes.
	growFrom = 1 << 20
	// dataOptions: metadata is written at most once a minute; what must be on the
	// card, the ledger syncs by itself. A broken file system stops at once.
	dataOptions = "commit=60,errors=remount-ro"
)

// found is what a check of the data partition has come to.
type found int

const (
	clean found = iota
	repaired
	tryHarder // what a machine may repair unasked was not enough
	remake    // beyond repair
	unchecked // the check itself could not run
)

// judge is the rule for e2fsck's exit codes (e2fsck(8)), which are bits. hard
// says that it was told to repair whatever it finds.
func judge(code int, hard bool) found {
	const (
		corrected, reboot, left, operational = 1, 2, 4, 8
	)
	switch {
	case code == 0:
		return clean
	case code < 0 || code&^(corrected|reboot|left|operational) != 0: // usage, cancelled, a library is missing
		return unchecked
	case code&(left|operational) != 0 && hard:
		return remake
	case code&(left|operational) != 0: // no superblock is "operational" too
		return tryHarder
	}
	return repaired
}

// data is what became of the data partition.
type data struct {
	mounted bool
	says    string // for the console: "clean", "repaired", "re-made (why)"
	remade  string // why, if it was
	grown   int64  // bytes, if it was
}

// openData checks, mends, mounts and grows the data partition. With an error
// the board serves pages and takes no orders.
func openData(ctx context.Context, m Machine, p Paths) (data, error) {
	device := p.Part(dataPart)
	if mounted(p, p.Data) { // aboard itself was started anew
		return data{mounted: true, says: "in use already"}, nil
	}
	size, larger, err := growTable(p.Disk, dataPart)
	tableErr := err // the partition may do as it is
	if larger {
		if err := m.GrowPartition(p.Disk, dataPart, int64(size.start)*sectorSize, int64(size.length)*sectorSize); err != nil {
			tableErr = err // the next boot's kernel reads it from the table
		}
	}
	d, err := checkData(ctx, m, device)
	if err != nil {
		return d, errors.Join(err, tableErr)
	}
	err = m.Mount(device, p.Data, "ext4", dataOptions, false)
	if err != nil && d.remade == "" {
		d = data{remade: "it could not be mounted"}
		if err = makeAnew(ctx, m, device); err == nil {
			err = m.Mount(device, p.Data, "ext4", dataOptions, false)
		}
	}
	if err != nil {
		return d, errors.Join(err, tableErr)
	}
	d.mounted = true
	// A card that has gone read-only is found out now, and not by the first order.
	if err := replaceFile(p.Kept("writable"), nil); err != nil {
		return d, fmt.Errorf("the card cannot be written: %w", err)
	}
	if d.remade != "" {
		d.says = "re-made (" + d.remade + ")"
		note := fmt.Sprintf("%s\n%s\n", time.Now().UTC().Format(time.RFC3339), d.remade)
		if err := replaceFile(p.Kept(remadeFact), []byte(note)); err != nil {
			return d, fmt.Errorf("the card cannot be written: %w", err)
		}
	}
	if d.grown, err = growData(ctx, m, device); err != nil {
		tableErr = errors.Join(tableErr, err)
	}
	if d.grown > 0 {
		d.says += fmt.Sprintf("; grown to %d MB", d.grown/1_000_000)
	}
	if tableErr != nil {
		d.says += "; it could not be grown: " + tableErr.Error()
	}
	return d, nil
}

// checkData has e2fsck look, and mends what can be mended.
func checkData(ctx context.Context, m Machine, device string) (data, error) {
	check := func(args ...string) (int, string, error) {
		ctx, cancel := context.WithTimeout(ctx, checkWait)
		defer cancel()
		return m.Run(ctx, "e2fsck", append(args, device)...)
	}
	code, output, err := check("-p")
	if err != nil {
		return data{says: "not checked: " + err.Error()}, nil
	}
	verdict := judge(code, false)
	if verdict == tryHarder {
		if code, output, err = check("-f", "-y"); err != nil {
			return data{}, err
		}
		verdict = judge(code, true)
	}
	switch verdict {
	case clean:
		return data{says: "clean"}, nil
	case repaired:
		return data{says: "repaired"}, nil
	case unchecked:
		return data{says: fmt.Sprintf("not checked: e2fsck ended with %d: %s", code, lastLine(output))}, nil
	}
	d := data{remade: fmt.Sprintf("e2fsck gave it up with %d: %s", code, lastLine(output))}
	return d, makeAnew(ctx, m, device)
}

// makeAnew makes an empty file system. The rack fills it: the board comes back
// to the ledger as a new server.
func makeAnew(ctx context.Context, m Machine, device string) error {
	ctx, cancel := context.WithTimeout(ctx, makeWait)
	defer cancel()
	// Inode tables are made when they are needed, or a large card would take minutes.
	code, output, err := m.Run(ctx, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "bramble-data", "-E", "lazy_itable_init=1,lazy_journal_init=1", device)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("the data partition can be neither read nor made anew (mke2fs ended with %d: %s): change the card", code, lastLine(output))
	}
	return nil
}

// growData has the mounted file system fill its partition: the kernel does it
// through the journal, so that a power cut cannot hurt. It returns the new size
// in bytes, 0 if there was nothing to do.
func growData(ctx context.Context, m Machine, device string) (int64, error) {
	has, fills, err := sizes(device)
	if err != nil || has == 0 || fills-has < growFrom {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, makeWait)
	defer cancel()
	code, output, err := m.Run(ctx, "resize2fs", device)
	if err != nil {
		return 0, err
	}
	if code != 0 {
		return 0, fmt.Errorf("resize2fs ended with %d: %s", code, lastLine(output))
	}
	return fills, nil
}

// sizes are those of a file system and of the partition that it is in.
func sizes(device string) (has, fills int64, err error) {
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

// mounted reports whether something is mounted at a folder (proc(5), mountinfo:
// the fifth field).
func mounted(p Paths, target string) bool {
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

// waitFor waits until a file is there, for at most limit.
func waitFor(ctx context.Context, file string, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		if _, err := os.Stat(file); err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		rest(ctx, 100*time.Millisecond)
	}
}

// lastLine is what a program said at the end, for a line on the console.
func lastLine(output string) string {
	last := "it said nothing"
	for _, line := range splitLines(output) {
		if line != "" {
			last = line
		}
	}
	return last[:min(len(last), 200)]
}
