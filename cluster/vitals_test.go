package cluster

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func fullMeta() Meta {
	return Meta{
		Weight: 150, LinkPort: 7947,
		HTTPURL: "http://192.0.2.7/", ConsoleURL: "http://192.0.2.7:8080/", Version: "1.2.3",
		Vitals: Vitals{
			State: Serving, Faults: PeerLost | ClockNotSet,
			ResponsesPerSecond: 1152.5, HitRatio: 0.987, CPU: 0.93,
			Memory: 38 << 20, Connections: 512, CacheBytes: 61 << 20, CacheBudget: 64 << 20,
			Uptime: 49*time.Hour + 7*time.Second, Load: 0.97,
		},
		Flags: Located | Leading,
	}
}

func TestMetaRoundTrip(t *testing.T) {
	for name, m := range map[string]Meta{
		"zero": {},
		"full": fullMeta(),
		"largest": {
			Weight: MaxWeight, LinkPort: math.MaxUint16,
			HTTPURL: strings.Repeat("h", MaxURL), ConsoleURL: strings.Repeat("ö", MaxURL/2), Version: strings.Repeat("9", MaxVersion),
			Vitals: Vitals{
				State: math.MaxUint8, Faults: math.MaxUint32, HitRatio: 1,
				Memory: math.MaxInt64, Connections: math.MaxInt64, CacheBytes: math.MaxInt64, CacheBudget: math.MaxInt64,
				Uptime: math.MaxInt64 / time.Second * time.Second, Load: 1,
			},
			Flags: math.MaxUint32,
		},
	} {
		b, err := m.Append(nil)
		if err != nil {
			t.Errorf("%s: Append: %v", name, err)
			continue
		}
		t.Logf("%s: %d bytes", name, len(b))
		got, err := ParseMeta(b)
		if err != nil || got != m {
			t.Errorf("%s: ParseMeta = %+v, %v; want %+v", name, got, err, m)
		}
		if len(b) > MaxMeta {
			t.Errorf("%s: %d bytes; the limit of memberlist is %d", name, len(b), MaxMeta)
		}
	}
}

// Boards of different builds read these bytes from each other.
func TestMetaGolden(t *testing.T) {
	b, err := Meta{Weight: 100, LinkPort: 7947, HTTPURL: "http://x", Version: "1", Vitals: Vitals{
		State: Serving, Faults: OriginDown, ResponsesPerSecond: 12.3, HitRatio: .5, CPU: 1, Memory: 300, Uptime: time.Minute, Load: .5,
	}, Flags: Leading}.Append([]byte("before"))
	want := []byte("before\x02\x64\x8b\x3e\x08http://x\x00\x011\x02\x02\x7b\xf4\x03\x64\xac\x02\x00\x00\x00\x3c\x02\x32")
	if err != nil || !bytes.Equal(b, want) {
		t.Errorf("Append = %q, %v; want %q", b, err, want)
	}
}

func TestMetaRejectsWhatDoesNotFit(t *testing.T) {
	for name, change := range map[string]func(*Meta){
		"long HTTP URL":     func(m *Meta) { m.HTTPURL = strings.Repeat("h", MaxURL+1) },
		"long console URL":  func(m *Meta) { m.ConsoleURL = strings.Repeat("h", MaxURL+1) },
		"long version":      func(m *Meta) { m.Version = strings.Repeat("9", MaxVersion+1) },
		"line end in a URL": func(m *Meta) { m.HTTPURL = "http://x\nfake log line" },
		"broken UTF-8":      func(m *Meta) { m.ConsoleURL = "\xff" },
		"negative weight":   func(m *Meta) { m.Weight = -1 },
		"great weight":      func(m *Meta) { m.Weight = MaxWeight + 1 },
	} {
		m := fullMeta()
		change(&m)
		b, err := m.Append([]byte("kept"))
		if !errors.Is(err, ErrMeta) || string(b) != "kept" {
			t.Errorf("%s: Append = %q, %v; want an ErrMeta and unchanged bytes", name, b, err)
		}
	}
}

func TestMetaClampsSenselessNumbers(t *testing.T) {
	nan := float32(math.NaN())
	m := Meta{Vitals: Vitals{ResponsesPerSecond: nan, HitRatio: 7, CPU: float32(math.Inf(-1)), Memory: -1, Connections: -1, Uptime: -time.Hour}}
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseMeta(b)
	if want := (Meta{Vitals: Vitals{HitRatio: 1}}); err != nil || got != want {
		t.Errorf("ParseMeta = %+v, %v; want %+v", got, err, want)
	}
}

func TestParseMetaOtherVersionsAndDamage(t *testing.T) {
	good, err := fullMeta().Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	later := append(slices.Clone(good), "fields of a later version"...)
	later[0] = 2
	if got, err := ParseMeta(later); err != nil || got != fullMeta() {
		t.Errorf("a later version: %+v, %v", got, err)
	}
	for cut := range good {
		if _, err := ParseMeta(good[:cut]); !errors.Is(err, ErrMeta) {
			t.Errorf("cut to %d of %d bytes: %v, want an ErrMeta", cut, len(good), err)
		}
	}
	for name, b := range map[string][]byte{
		"version 0":        append([]byte{0}, good[1:]...),
		"too long":         append(slices.Clone(good), make([]byte, MaxMeta)...),
		"endless number":   append([]byte{1}, bytes.Repeat([]byte{0xff}, 20)...),
		"weight too great": {1, 0xff, 0xff, 0x7f},
		"control in text":  {1, 0, 0, 1, '\n'},
		"text too long":    append([]byte{1, 0, 0, MaxURL + 1}, make([]byte, 200)...),
	} {
		if _, err := ParseMeta(b); !errors.Is(err, ErrMeta) {
			t.Errorf("%s: %v, want an ErrMeta", name, err)
		}
	}
}

func FuzzParseMeta(f *testing.F) {
	good, err := fullMeta().Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:9])
	f.Add([]byte{})
	f.Add([]byte{1, 100, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMeta(b)
		if err != nil {
			if !errors.Is(err, ErrMeta) {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		again, err := m.Append(nil)
		if err != nil {
			t.Fatalf("cannot write what was read: %v", err)
		}
		// A float32 has 24 bits, so large numbers may be rounded the first time; after that
		// they must not change.
		m2, err := ParseMeta(again)
		if err != nil {
			t.Fatalf("cannot read what was written: %v", err)
		}
		third, err := m2.Append(nil)
		if err != nil || !bytes.Equal(third, again) {
			t.Errorf("%q became %q, %v", again, third, err)
		}
	})
}

func TestFaultNames(t *testing.T) {
	got := (CutOff | PeerLost | 1<<31).Names()
	if want := []string{"peer-lost", "cut-off", "fault-31"}; !slices.Equal(got, want) {
		t.Errorf("Names() = %v, want %v", got, want)
	}
	if got := Faults(0).String(); got != "none" {
		t.Errorf("no fault is %q", got)
	}
	if got := (OriginDown | ClockNotSet | NameTaken).String(); got != "origin-down, clock-not-set, name-taken" {
		t.Errorf("String() = %q", got)
	}
}

func TestStateNames(t *testing.T) {
	for s, want := range map[State]string{Starting: "starting", Serving: "serving", Stopping: "stopping", 9: "state-9"} {
		if got := s.String(); got != want {
			t.Errorf("State(%d) is %q, want %q", uint8(s), got, want)
		}
	}
}

func TestIsMaterialChange(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Meta)
		want   bool
	}{
		"nothing":           {func(m *Meta) {}, false},
		"uptime":            {func(m *Meta) { m.Vitals.Uptime += time.Hour }, false},
		"state":             {func(m *Meta) { m.Vitals.State = Draining }, true},
		"faults":            {func(m *Meta) { m.Vitals.Faults = 0 }, true},
		"weight":            {func(m *Meta) { m.Weight++ }, true},
		"a URL":             {func(m *Meta) { m.HTTPURL = "" }, true},
		"hits by 4 %":       {func(m *Meta) { m.Vitals.ResponsesPerSecond *= 1.04 }, false},
		"hits by 6 %":       {func(m *Meta) { m.Vitals.ResponsesPerSecond *= 1.06 }, true},
		"hits to none":      {func(m *Meta) { m.Vitals.ResponsesPerSecond = 0 }, true},
		"memory by 1 MB":    {func(m *Meta) { m.Vitals.Memory += 1 << 20 }, false},
		"memory by 4 MB":    {func(m *Meta) { m.Vitals.Memory += 4 << 20 }, true},
		"cache by 256 KB":   {func(m *Meta) { m.Vitals.CacheBytes -= 256 << 10 }, false},
		"cache emptied":     {func(m *Meta) { m.Vitals.CacheBytes = 0 }, true},
		"cache budget":      {func(m *Meta) { m.Vitals.CacheBudget++ }, true},
		"one connection":    {func(m *Meta) { m.Vitals.Connections++ }, false},
		"many connections":  {func(m *Meta) { m.Vitals.Connections *= 2 }, true},
		"hit ratio by 2 %":  {func(m *Meta) { m.Vitals.HitRatio -= 0.02 }, false},
		"hit ratio by 10 %": {func(m *Meta) { m.Vitals.HitRatio -= 0.1 }, true},
		"CPU by a third":    {func(m *Meta) { m.Vitals.CPU -= 0.3 }, true},
	} {
		m := fullMeta()
		c.change(&m)
		if got := isMaterialChange(fullMeta(), m); got != c.want {
			t.Errorf("%s: isMaterialChange = %v, want %v", name, got, c.want)
		}
	}
}
