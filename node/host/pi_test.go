package host

import (
	"strings"
	"testing"
	"testing/fstest"
)

const mounts = "22 1 0:21 / / rw,relatime - rootfs rootfs rw\n" +
	"28 22 179:2 / /data rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw,errors=remount-ro\n" +
	"29 22 179:1 / /boot ro,noatime - vfat /dev/mmcblk0p1 ro,fmask=0022\n"

func plentyFree() (int64, bool) { return 1 << 30, true }

func TestPiHealth(t *testing.T) {
	const volt, flags = "sys/class/hwmon/hwmon2/in0_lcrit_alarm", "sys/devices/platform/soc/soc:firmware/get_throttled"
	const heat, errors = "sys/class/thermal/thermal_zone0/temp", "sys/fs/ext4/mmcblk0p2/errors_count"
	tests := []struct {
		name  string
		files map[string]string
		free  int64
		want  PiHealth
	}{
		{"no Pi", map[string]string{}, 1 << 30, PiHealth{}},
		{"all is well", map[string]string{"sys/class/hwmon/hwmon2/name": "rpi_volt\n", volt: "0\n", flags: "50000\n", heat: "79999\n", errors: "0\n", "proc/self/mountinfo": mounts}, 1 << 30, PiHealth{}},
		{"under-voltage", map[string]string{"sys/class/hwmon/hwmon2/name": "rpi_volt\n", volt: "1\n"}, 1 << 30, PiHealth{PowerLow: true}},
		{"another monitor's alarm", map[string]string{"sys/class/hwmon/hwmon2/name": "cpu_thermal\n", volt: "1\n"}, 1 << 30, PiHealth{}},
		{"throttled now", map[string]string{flags: "0x50005\n"}, 1 << 30, PiHealth{PowerLow: true}},
		{"a lowered clock alone", map[string]string{flags: "2\n"}, 1 << 30, PiHealth{}},
		{"a hot laptop", map[string]string{heat: "95000\n"}, 1 << 30, PiHealth{}},
		{"hot", map[string]string{heat: "80000\n", "proc/device-tree/model": "Raspberry Pi Model B\x00"}, 1 << 30, PiHealth{TooHot: true}},
		{"nonsense", map[string]string{heat: "warm\n", flags: "many\n", errors: "some\n", "proc/self/mountinfo": "a b c\n - \n"}, 1 << 30, PiHealth{}},
		{"read-only", map[string]string{"proc/self/mountinfo": strings.Replace(mounts, "/data rw", "/data ro", 1)}, 1 << 30, PiHealth{Card: "is read-only: change it"}},
		{"remounted by the kernel", map[string]string{"proc/self/mountinfo": strings.Replace(mounts, "rw,errors", "ro,errors", 1)}, 1 << 30, PiHealth{Card: "is read-only: change it"}},
		{"mounted over", map[string]string{"proc/self/mountinfo": mounts + "30 28 0:9 / /data ro - tmpfs none rw\n"}, 1 << 30, PiHealth{Card: "is read-only: change it"}},
		{"errors", map[string]string{errors: "3\n", "proc/self/mountinfo": mounts}, 1 << 30, PiHealth{Card: "has had 3 errors: change it"}},
		{"full", map[string]string{"proc/self/mountinfo": mounts}, 1 << 20, PiHealth{Card: "is full, 1 MB are left: take a larger one"}},
		{"errors of a disk are not a card's", map[string]string{"sys/fs/ext4/sda1/errors_count": "3\n", "proc/self/mountinfo": "28 22 8:1 / / rw - ext4 /dev/sda1 rw\n"}, 1 << 30, PiHealth{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := fstest.MapFS{}
			for name, text := range tt.files {
				files[name] = &fstest.MapFile{Data: []byte(text)}
			}
			r := NewPiReader(files, "/data/ledger", func() (int64, bool) { return tt.free, true })
			if got := r.Read(); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if tt.want.Card != "" {
				if got := NewPiReader(files, "", plentyFree).Read(); got.Card != "" {
					t.Errorf("a board without orders watches a card: %+v", got)
				}
			}
		})
	}
}

func TestHotUntilCool(t *testing.T) {
	file := &fstest.MapFile{Data: []byte("70000")}
	r := NewPiReader(fstest.MapFS{
		"proc/device-tree/model": &fstest.MapFile{Data: []byte("Raspberry Pi Model B")}, "sys/class/thermal/thermal_zone0/temp": file,
	}, "", plentyFree)
	for _, step := range []struct {
		temp string
		want bool
	}{{"79999", false}, {"80000", true}, {"76000", true}, {"75000", true}, {"74999", false}, {"79000", false}} {
		file.Data = []byte(step.temp)
		if got := r.Read().TooHot; got != step.want {
			t.Errorf("at %s too hot is %v", step.temp, got)
		}
	}
}

// Reading every few seconds leaves next to nothing for the garbage collector.
func TestReadingIsCheap(t *testing.T) {
	files := fstest.MapFS{
		"proc/device-tree/model":                 &fstest.MapFile{Data: []byte("Raspberry Pi Model B")},
		"sys/class/hwmon/hwmon0/name":            &fstest.MapFile{Data: []byte("rpi_volt")},
		"sys/class/hwmon/hwmon0/in0_lcrit_alarm": &fstest.MapFile{Data: []byte("0")},
		"sys/class/thermal/thermal_zone0/temp":   &fstest.MapFile{Data: []byte("45000")},
	}
	r := NewPiReader(files, "", plentyFree)
	if n := testing.AllocsPerRun(100, func() { r.Read() }); n > 20 {
		t.Errorf("a reading allocates %v times", n)
	}
}

func FuzzFindMount(f *testing.F) {
	f.Add(mounts, "/data/ledger")
	f.Add("1 2 3 4 /a\\040b\\ rw - x y ro\n", "/a b")
	f.Add(" - \n1 1 1 1 \\ ro - a b c", "")
	f.Fuzz(func(t *testing.T, table, folder string) {
		m, found := findMount(table, folder)
		if found && !isWithin(folder, m.at) {
			t.Errorf("%q is not on %q", folder, m.at)
		}
		isTooHot(table, true)
		isThrottled(table)
	})
}
