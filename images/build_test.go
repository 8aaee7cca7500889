//go:build linux

package images

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bramble/images/cardinit"
	"bramble/images/release"
)

// Bounds of an image: its present size, and a little more.
const (
	maxImage  = 64_000_000 // bytes, to flash
	maxInitrd = 12_500_000 // bytes, packed
	maxSlot   = 17_500_000 // bytes
)

func TestTheImageIsComplete(t *testing.T) {
	if testing.Short() {
		t.Skip("building an image takes its time")
	}
	needTools(t, tool{"fsck.vfat", "dosfstools"}, tool{"e2fsck", "e2fsprogs"})
	image := sharedImage(t)
	info, err := os.Stat(image)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() >= maxImage || info.Size() != built.report.Bytes {
		t.Errorf("%d bytes, reported as %d; want less than %d", info.Size(), built.report.Bytes, maxImage)
	}
	sum, err := hashFile(image)
	if err != nil || sum != built.report.SHA256 {
		t.Errorf("hash %s, %v; reported as %s", sum, err, built.report.SHA256)
	}
	checkFAT(t, image)
	checkExt4(t, image)

	card := &emulatedBoard{t: t, model: modelB, card: image, folder: t.TempDir(), serial: "1a2b"}
	f := card.loadFirmware()
	if !strings.Contains(f.line, "console=ttyAMA0,115200") || !strings.Contains(f.line, "bramble.slot=a") {
		t.Errorf("command line %q", f.line)
	}
	initrd, err := os.ReadFile(f.initrd)
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := os.Stat(f.kernel)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("image %d bytes, kernel %d, start-up file system %d", info.Size(), kernel.Size(), len(initrd))
	if len(initrd) > maxInitrd || int64(len(initrd))+kernel.Size() > maxSlot {
		t.Errorf("start-up file system of %d bytes and a kernel of %d; at most %d, and %d together", len(initrd), kernel.Size(), maxInitrd, maxSlot)
	}
	if got := strings.TrimSpace(card.readFile("a/slot.txt")); got != built.report.Version {
		t.Errorf("slot.txt says %q, the report %q", got, built.report.Version)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the image, which has the rack key, has mode %v", info.Mode())
	}
	signed, err := release.Open(built.image)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := cardinit.ParseStatement(signed.Signature); err != nil || s.Version != built.report.Version || s.Released.IsZero() || len(s.Files) != len(signed.Files)+2 {
		t.Errorf("the image is signed as %+v (%v)", s, err)
	}
	settings, err := os.ReadFile(built.settings)
	if err != nil || card.readFile("bramble.toml") != string(settings) || card.readFile("shop/catalogue.toml") != newCatalogue() {
		t.Errorf("the owner's files on the card differ (%v)", err)
	}
	manifest := card.readFile(manifestName)
	for _, part := range []string{"linux-image-", "raspi-firmware", "GPL-2.0-only", "github.com/hashicorp/raft | ", "MPL-2.0", "a/vmlinuz"} {
		if !strings.Contains(manifest, part) {
			t.Errorf("the manifest lacks %q", part)
		}
	}
	if strings.Contains(manifest, "see its source") || strings.Contains(manifest, "see licences/") {
		t.Errorf("the manifest has a part of unknown licence:\n%s", manifest)
	}
	// Files that no firmware starts, but that people read.
	for _, name := range []string{"bootcode.bin", "start.elf", "fixup.dat", "start_cd.elf", "fixup_cd.dat", "README.txt", "licences/raspi-firmware.txt", "licences/go.txt"} {
		if card.readFile(name) == "" {
			t.Errorf("%s is empty", name)
		}
	}
}

// Two builds in different folders, at different times, with other time zones, umasks and
// settings, produce the same bytes.
func TestTheSamePartsMakeTheSameImage(t *testing.T) {
	if testing.Short() {
		t.Skip("building an image takes its time")
	}
	sharedImage(t)
	again := built.options
	again.Out = filepath.Join(t.TempDir(), "again.img")
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("TZ", "Pacific/Auckland")
	t.Setenv("LC_ALL", "C.UTF-8")
	t.Setenv("SOURCE_DATE_EPOCH", "1")
	old := syscall.Umask(0o077)
	report, err := Build(t.Context(), again)
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	if report != built.report {
		t.Errorf("first %+v\nthen  %+v", built.report, report)
	}
	entries, err := os.ReadDir(filepath.Dir(again.Out))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the image there is %v (%v)", entries, err)
	}
}

func TestAFailedBuildLeavesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("building an image takes its time")
	}
	sharedImage(t)
	work := t.TempDir()
	t.Setenv("TMPDIR", work)
	o := built.options
	o.Out = filepath.Join(t.TempDir(), "no.img")
	o.Shop = t.TempDir()
	f, err := os.Create(filepath.Join(o.Shop, "film.raw"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(30<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(t.Context(), o); err == nil || !strings.Contains(err.Error(), "make the shop's folder smaller") {
		t.Errorf("a shop of 30 MB: %v", err)
	}
	for _, dir := range []string{work, filepath.Dir(o.Out)} {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("left in %s: %v (%v)", dir, entries, err)
		}
	}
}

// Compression produces the same bytes at any time, without a time stamp.
func TestGzipIsTheSameAtAnyTime(t *testing.T) {
	content := bytes.Repeat([]byte("a kernel of 64 bits "), 1000)
	packed, err := gzipBytes(content)
	if err != nil {
		t.Fatal(err)
	}
	if head := packed[3:8]; !bytes.Equal(head, make([]byte, len(head))) { // RFC 1952: flags, none of them a name, and time
		t.Errorf("its header has flags or a time: %x", packed[:10])
	}
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if back, err := io.ReadAll(zip); err != nil || !bytes.Equal(back, content) {
		t.Errorf("it decompresses to %d bytes, %v", len(back), err)
	}
}

// The start-up file system is one that cpio reads too.
func TestCpioReadsTheArchive(t *testing.T) {
	if _, err := exec.LookPath("cpio"); err != nil {
		failOrSkip(t, "this test needs cpio")
	}
	tr := cpioTree{}
	tr.putFile("bin/odd", 0o755, []byte("12345"))
	tr.putFile("bin/none", 0o600, nil)
	tr.putFolder("tmp", 0o1777)
	tr.putLink("sbin/init", "/bin/odd")
	cmd := exec.Command("cpio", "--list", "--verbose", "--numeric-uid-gid", "--quiet")
	cmd.Env = []string{"TZ=UTC", "LC_ALL=C"}
	cmd.Stdin = bytes.NewReader(tr.formatCPIO(time.Date(2012, 2, 29, 6, 0, 0, 0, time.UTC)))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := `drwxr-xr-x   2 0        0               0 Feb 29  2012 bin
-rw-------   1 0        0               0 Feb 29  2012 bin/none
-rwxr-xr-x   1 0        0               5 Feb 29  2012 bin/odd
drwxr-xr-x   2 0        0               0 Feb 29  2012 sbin
lrwxrwxrwx   1 0        0               8 Feb 29  2012 sbin/init -> /bin/odd
drwxrwxrwt   2 0        0               0 Feb 29  2012 tmp
`
	if string(out) != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

func TestAProgramForAnotherMachineIsRefused(t *testing.T) {
	for name, tt := range map[string]struct{ os, arch, arm, cgo, want string }{
		"the card's":       {"linux", "arm", "6,hardfloat", "0", ""},
		"this computer's":  {"linux", "amd64", "", "0", "a program for linux amd64: build it with GOOS=linux GOARCH=arm GOARM=6"},
		"a Mac's":          {"darwin", "arm64", "", "0", "GOARM=6"},
		"a later board's":  {"linux", "arm", "7", "0", "a program for linux arm7: "},
		"one with libc":    {"linux", "arm", "6", "1", "CGO_ENABLED=0"},
		"of unknown libcs": {"linux", "arm", "6", "", "CGO_ENABLED=0"},
	} {
		err := checkARMv6(map[string]string{"GOOS": tt.os, "GOARCH": tt.arch, "GOARM": tt.arm, "CGO_ENABLED": tt.cgo})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPartitionTable(t *testing.T) {
	for _, o := range []Options{{}, {Later: true}} {
		checkTable(t, o.cardLayout())
	}
}

func checkTable(t *testing.T, l cardLayout) {
	t.Helper()
	b := l.partitionTable()
	if b[510] != 0x55 || b[511] != 0xaa || b[446+4] != 0x0c || b[446+16+4] != 0x83 {
		t.Errorf("table % x", b[440:])
	}
	bootAt, bootLength := partitionEntry(b, 1)
	dataAt, dataLength := partitionEntry(b, 2)
	if bootAt != bootStart || bootLength != l.boot || dataAt != bootAt+bootLength || dataAt+dataLength != l.imageSize() {
		t.Errorf("boot %d+%d, data %d+%d", bootAt, bootLength, dataAt, dataLength)
	}
	for _, at := range []int64{bootAt, dataAt} {
		if at%(4<<20) != 0 {
			t.Errorf("a partition begins at %d, inside an erase block", at)
		}
	}
}
