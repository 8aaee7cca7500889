package cardinit

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestParseCmdline(t *testing.T) {
	for line, want := range map[string]KernelParams{
		"":                                    {Slot: "a"},
		"console=tty1 bramble.slot=b panic=1": {Slot: "b", OnCard: true},
		"bramble.slot=c bramble.watchdog=yes": {Slot: "a", OnCard: true},
		"bramble.watchdog=1 bramble.serial=00000000A1B2C3D4 bramble.trial=1 bramble.kexec=0\n": {Slot: "a", Watchdog: true, Serial: "00000000a1b2c3d4", Trial: true, NoKexec: true},
		"bramble.serial=12g4 bramble.trial bramble.serial":                                     {Slot: "a"},
	} {
		if got := parseCmdline(line); got != want {
			t.Errorf("%q parses as %+v, want %+v", line, got, want)
		}
	}
}

func TestFindSerial(t *testing.T) {
	for _, tt := range []struct {
		name   string
		params KernelParams
		proc   map[string]string
		sys    map[string]string
		want   string
	}{
		{"the kernel parameters first", KernelParams{Serial: "1a2b"}, map[string]string{"device-tree/serial-number": "00000000deadbeef\x00"}, nil, "1a2b"},
		{"device tree", KernelParams{}, map[string]string{"device-tree/serial-number": "00000000DEADBEEF\x00"}, nil, "00000000deadbeef"},
		{"a serial of noughts is none", KernelParams{}, map[string]string{"device-tree/serial-number": "0000000000000000\x00"},
			map[string]string{"class/net/lo/type": "772\n", "class/net/usb0/type": "1\n", "class/net/usb0/address": "b8:27:eb:01:02:03\n"}, "b827eb010203"},
		{"nothing", KernelParams{}, nil, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := fakePaths(t)
			writeFiles(t, p.Proc, tt.proc)
			writeFiles(t, p.Sys, tt.sys)
			got, err := findSerial(tt.params, p)
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	for serial, want := range map[string]string{"00000000DEADBEEF": "bramble-BEEF", "7": "bramble-0007"} {
		if got := DefaultHostName(serial); got != want {
			t.Errorf("the host name for %s is %s", serial, got)
		}
	}
}

func TestRestartDelay(t *testing.T) {
	want := []time.Duration{1, 2, 4, 8, 16, 30, 30}
	for i, seconds := range want {
		if got := restartDelay(i + 1); got != seconds*time.Second {
			t.Errorf("after %d quick ends: %v, want %d s", i+1, got, seconds)
		}
	}
	if got := restartDelay(1 << 30); got != maxRestartDelay {
		t.Errorf("after very many: %v", got)
	}
}

func TestInterpretFsck(t *testing.T) {
	for _, tt := range []struct {
		code       int
		soft, hard checkResult
	}{
		{0, checkClean, checkClean}, {1, checkRepaired, checkRepaired}, {2, checkRepaired, checkRepaired}, {3, checkRepaired, checkRepaired},
		{4, checkNeedsForce, checkHopeless}, {5, checkNeedsForce, checkHopeless}, {8, checkNeedsForce, checkHopeless}, {12, checkNeedsForce, checkHopeless},
		{16, checkNotRun, checkNotRun}, {32, checkNotRun, checkNotRun}, {128, checkNotRun, checkNotRun}, {-1, checkNotRun, checkNotRun}, {127, checkNotRun, checkNotRun},
	} {
		if got := interpretFsck(tt.code, false); got != tt.soft {
			t.Errorf("code %d means %d", tt.code, got)
		}
		if got := interpretFsck(tt.code, true); got != tt.hard {
			t.Errorf("code %d of a forced check means %d", tt.code, got)
		}
	}
}

func TestChooseSamples(t *testing.T) {
	for _, tt := range []struct {
		name    string
		seconds []float64
		want    float64 // the median of the group
		size    int     // 0: refused
	}{
		{"nobody", nil, 0, 0},
		{"the only one", []float64{7}, 7, 1},
		{"two agree", []float64{7, 7.5}, 7.5, 2},
		{"two do not", []float64{7, 9}, 0, 0},
		{"one lies", []float64{1e9, 7, 7.1, 7.2}, 7.1, 3},
		{"one of three lies", []float64{7, 3600, 7.2}, 7.2, 2},
		{"two against two", []float64{1, 1.1, 5, 5.1}, 0, 0},
		{"three that differ", []float64{0, 60, 3600}, 0, 0},
		{"half a century", []float64{1.8e9, 1.8e9}, 1.8e9, 2},
	} {
		var samples []timeSample
		for _, v := range tt.seconds {
			samples = append(samples, timeSample{"s", time.Duration(v * float64(time.Second))})
		}
		got, err := chooseSamples(samples)
		if len(got) != tt.size || (err == nil) != (tt.size > 0) || tt.size > 0 && got[len(got)/2].offset != time.Duration(tt.want*float64(time.Second)) {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
	if _, err := chooseSamples(nil); !errors.Is(err, errNoTime) {
		t.Errorf("without samples: %v", err)
	}
}

func TestPickServers(t *testing.T) {
	public := strings.Join(defaultTimeServers(), " ")
	for _, tt := range []struct{ settings, fromDHCP, want string }{
		{"", "", public},
		{"", "10.0.0.1", "10.0.0.1 " + public},
		{"a", "10.0.0.1", "a 10.0.0.1 " + public},
		{"a b", "b", "a b " + public},
		{"a b c", "10.0.0.1", "a b c"},
		{"a b c d e f g h", "", "a b c d e f"},
	} {
		if got := strings.Join(pickServers(strings.Fields(tt.settings), strings.Fields(tt.fromDHCP)), " "); got != tt.want {
			t.Errorf("%q, %q: %s", tt.settings, tt.fromDHCP, got)
		}
	}
}

func TestChooseChange(t *testing.T) {
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	year := 365 * 24 * time.Hour
	for _, tt := range []struct {
		now     time.Time
		offset  time.Duration
		set     bool
		servers int
		want    clockChange
		ok      bool
	}{
		{time.Unix(20, 0), now.Sub(time.Unix(20, 0)), false, 3, stepClock, true},
		{now, 0, false, 3, stepClock, true},
		{now, 400 * time.Millisecond, true, 3, slewClock, true},
		{now, -400 * time.Millisecond, true, 1, slewClock, true},
		{now, 100 * time.Microsecond, true, 3, leaveClock, true},
		{now, 500 * time.Millisecond, true, 3, stepClock, true},
		{now, -time.Hour, true, 2, stepClock, true},
		{now, -20 * year, true, 3, leaveClock, false},
		{now, 20 * year, false, 3, leaveClock, false},
		// One server alone.
		{now, 4 * time.Second, true, 1, stepClock, true},
		{now, time.Hour, true, 1, leaveClock, false},
		{now, time.Hour, false, 1, stepClock, true},
		{now, -31 * 24 * time.Hour, false, 1, leaveClock, false}, // before the last shutdown
		{now, -31 * 24 * time.Hour, false, 2, stepClock, true},
	} {
		got, err := chooseChange(tt.now, tt.offset, clockKnowledge{tt.set, tt.servers, now.Add(-30 * 24 * time.Hour)})
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%v off at %v, set %v, %d servers: %d, %v", tt.offset, tt.now, tt.set, tt.servers, got, err)
		}
	}
}

func TestLivenessPolicy(t *testing.T) {
	zero := time.Unix(0, 0)
	v := livenessPolicy{since: zero, grace: graceAfterStart}
	for _, tt := range []struct {
		at                float64 // seconds
		answered, started bool
		want              bool
	}{
		{1, false, true, true}, {89, false, false, true}, {90, true, false, true}, // it came up in time
		{134, false, false, true}, {135, false, false, false}, {140, false, false, false}, // it hangs
		{141, false, true, true}, {230, false, false, true}, {231, false, false, false}, // a new start that hangs too
		{232, true, false, true}, // it answers before the machine is reset
	} {
		if got := v.shouldFeed(zero.Add(time.Duration(tt.at*float64(time.Second))), tt.answered, tt.started); got != tt.want {
			t.Errorf("at %v s the board is alive: %v", tt.at, got)
		}
	}
}

func TestTrialCmdline(t *testing.T) {
	own := "console=ttyAMA0 panic=10 bramble.slot=b new=1\n"
	running := "smsc95xx.macaddr=B8:27 console=ttyAMA0 panic=10 bramble.slot=a old=1 mem=240M bramble.trial=1"
	want := "console=ttyAMA0 panic=10 bramble.slot=b new=1 smsc95xx.macaddr=B8:27 mem=240M bramble.trial=1"
	if got := trialCmdline(own, running, "console=ttyAMA0 panic=10 bramble.slot=a old=1\n"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	own = "bramble.watchdog=1 bramble.slot=b"
	if got := trialCmdline(own, "bramble.slot=a", own); got != "bramble.slot=b bramble.trial=1" {
		t.Errorf("a watchdog that must not be opened: %s", got)
	}
	if got := trialCmdline(own, "bramble.slot=a bramble.watchdog=1", own); got != "bramble.watchdog=1 bramble.slot=b bramble.trial=1" {
		t.Errorf("a watchdog that runs: %s", got)
	}
}

func TestParseLease(t *testing.T) {
	text := "event=bound\nip=10.0.2.15\nmask=24\nrouter=10.0.2.2 10.0.2.9\ndns=10.0.2.3 nonsense 127.0.0.1\nntp=10.0.2.4 10.0.2.5\n"
	l, ok := parseLease("eth0", text)
	if !ok || l.address.String() != "eth0 10.0.2.15/24 by DHCP, router 10.0.2.2" ||
		len(l.address.DNS) != 1 || l.address.DNS[0] != netip.MustParseAddr("10.0.2.3") || strings.Join(l.address.NTP, " ") != "10.0.2.4 10.0.2.5" {
		t.Errorf("parsed as %v, %v", l.address, ok)
	}
	for text, want := range map[string]bool{
		"event=deconfig\n": true, "event=bound\n": false, "event=bound\nip=127.0.0.1\n": false, "event=renew\nip=10.0.0.1\nmask=99\n": true,
		"": false, "event=surprise\nip=10.0.0.1\n": false, strings.Repeat("x", maxLease+1): false,
	} {
		if _, ok := parseLease("eth0", text); ok != want {
			t.Errorf("%.40q is a lease: %v", text, ok)
		}
	}
}

func FuzzParseLease(f *testing.F) {
	f.Add("event=bound\nip=10.0.2.15\nmask=24\nrouter=10.0.2.2\ndns=10.0.2.3\nntp=1.2.3.4\n")
	f.Add("event=renew\nip=0.0.0.0\nmask=-1\nrouter= \n")
	f.Fuzz(func(t *testing.T, text string) {
		l, ok := parseLease("eth0", text)
		a := l.address
		if ok && l.event == "bound" && (!a.Own.IsValid() || !a.Own.Addr().Is4()) || len(a.DNS) > maxDNS || len(a.NTP) > maxNTP {
			t.Errorf("%q parses as %+v", text, l)
		}
		for _, s := range a.NTP {
			if _, err := netip.ParseAddr(s); err != nil {
				t.Errorf("a time server that is not an address: %q", s)
			}
		}
	})
}

func TestNotices(t *testing.T) {
	p := fakePaths(t)
	if got := Notices(p); len(got) != 0 {
		t.Errorf("without events the notices are %q", got)
	}
	writeFiles(t, p.Run, map[string]string{
		"bramble/restarts":  "3 times since power-on, and was restarted. Its last lines were: panic: at sea / goroutine 1\n",
		"bramble/recreated": "2026-11-22T02:00:00Z\ne2fsck gave up with exit code 8: bad magic\n",
		"bramble/no-card":   "the card cannot be written\n",
	})
	got := strings.Join(Notices(p), "\n")
	for _, want := range []string{"ended unexpectedly 3 times", "panic: at sea / goroutine 1", "2026-11-22T02:00:00Z", "bad magic", "accepts no orders: the card cannot be written"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing: %s", want, got)
		}
	}
	if ClockIsSet(p) {
		t.Error("the clock counts as set")
	}
}

func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	p := fakePaths(t)
	l := newLogRing(p)
	line := strings.Repeat("x", 99) + "\n"
	for range 2 * maxMemoryLog / 50 {
		if _, err := l.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"log", "log.1"} {
		info, err := os.Stat(p.StateFile(name))
		if err != nil || info.Size() > maxMemoryLog+int64(len(line))+20 {
			t.Errorf("%s has %v bytes, %v", name, info.Size(), err)
		}
	}
	if last := l.lastLines(3); len(last) != 3 || last[0] != line[:99] {
		t.Errorf("the last lines are %q", last)
	}
	writeFiles(t, p.Data, map[string]string{"bramble/keep": ""})
	for range 3 * maxCardLog / maxPending {
		if err := l.saveToCard(); err != nil {
			t.Fatal(err)
		}
		for range maxPending / 10 {
			l.logf("%s", "something")
		}
	}
	for _, name := range []string{"log", "log.1"} {
		info, err := os.Stat(p.SavedFile(name))
		if err != nil || info.Size() > maxCardLog || info.Size() < maxPending {
			t.Errorf("on the card %s has %v bytes, %v", name, info.Size(), err)
		}
	}
	text, err := os.ReadFile(p.SavedFile("log"))
	if err != nil || !strings.Contains(string(text), "(more lines were dropped)") {
		t.Errorf("the dropped lines are not mentioned: %v", err)
	}
	before := len(text)
	for range 2 { // nothing new, nothing written
		if err := l.saveToCard(); err != nil {
			t.Fatal(err)
		}
	}
	if text, err = os.ReadFile(p.SavedFile("log")); err != nil || len(text) > before+maxPending+100 {
		t.Errorf("without new lines the log grows from %d to %d bytes, %v", before, len(text), err)
	}
}

func TestNoControlCharacterReachesAConsole(t *testing.T) {
	l := newLogRing(fakePaths(t))
	l.logf("%s", "a\x1b[2Jb\rc\u009bd\te")
	if got := <-l.console; got != "bramble: a?[2Jb?c?d\te" {
		t.Errorf("the console shows %q", got)
	}
}

func TestRenderMistakes(t *testing.T) {
	page, err := renderMistakes(pageData{"bramble-1a2b", "1a2b", "v1", []Mistake{
		{Line: 3, Column: 7, Text: `bramble.toml: [rack] kee: unknown <key>; did you mean "key"?`}, {Text: "and 4 more"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<strong>Line 3, column 7</strong>: bramble.toml: [rack] kee: unknown &lt;key&gt;; did you mean", "<li>and 4 more</li>", "bramble-1a2b, serial number 1a2b, v1"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %s:\n%s", want, page)
		}
	}
}

func TestHostName(t *testing.T) {
	zone, err := hostZone("bramble-1a2b", 80, netip.MustParseAddr("10.0.2.15"))
	if err != nil {
		t.Fatal(err)
	}
	found := zone.Records(dns.Question{Name: "bramble-1a2b.local.", Qtype: dns.TypeA, Qclass: dns.ClassINET})
	if len(found) != 1 || !strings.Contains(found[0].String(), "10.0.2.15") {
		t.Errorf("the host's address is %v", found)
	}
	if found := zone.Records(dns.Question{Name: "bramble-9999.local.", Qtype: dns.TypeA, Qclass: dns.ClassINET}); len(found) != 0 {
		t.Errorf("it answers for another name: %v", found)
	}
}

func TestOnCard(t *testing.T) {
	p := fakePaths(t)
	for line, want := range map[string]bool{"": false, "root=/dev/sda1 quiet": false, "console=tty1 bramble.slot=a": true} {
		writeFiles(t, p.Proc, map[string]string{"cmdline": line})
		if got := OnCard(p); got != want {
			t.Errorf("%q is of a card: %v", line, got)
		}
	}
	if p.Partition(2) != filepath.Join(filepath.Dir(p.Disk), "mmcblk0p2") {
		t.Error(p.Partition(2))
	}
}
