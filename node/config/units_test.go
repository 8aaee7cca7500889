package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "1": 1, "64MB": 64_000_000, "64 mb": 64_000_000, "64MiB": 67_108_864, "1kB": 1000,
		"1KiB": 1024, "2GB": 2_000_000_000, "1GiB": 1 << 30, "9223372036854775807": 1<<63 - 1, "12B": 12,
	} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q is %d, %v; want %d", text, s, err, want)
		}
	}
	for _, text := range []string{"", "MB", "-1MB", "1.5MB", "1TB", "9223372036854775808", "9999999999GB", "1 M B", "+1"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %d", text, s)
		}
	}
	for s, want := range map[Size]string{0: "0B", 1500: "1500B", 64 * MB: "64MB", 64 * MiB: "64MiB", 3 * KiB: "3KiB"} {
		if s.String() != want {
			t.Errorf("%d prints as %s, want %s", int64(s), s, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"10s": 10 * time.Second, "1m30s": 90 * time.Second, "0": 0, "500ms": 500 * time.Millisecond} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || time.Duration(d) != want {
			t.Errorf("%q is %v, %v", text, d, err)
		}
	}
	for _, text := range []string{"", "10", "-1s", "ten", "9999999h"} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %v", text, d)
		}
	}
	for d, want := range map[time.Duration]string{10 * time.Minute: "10m", 2 * time.Hour: "2h", 61 * time.Minute: "1h1m", 90 * time.Second: "1m30s", 0: "0s"} {
		if Duration(d).String() != want {
			t.Errorf("%v prints as %s, want %s", d, Duration(d), want)
		}
	}
}

func TestRackKeyIsNeverPrinted(t *testing.T) {
	k := testKey(t, 65) // its bytes are letters, so that a leak would show
	secret := string(k.Bytes())
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%t"} {
		fmt.Fprintf(&out, verb+"\n", k)
		fmt.Fprintf(&out, verb+"\n", &k)
		fmt.Fprintf(&out, verb+"\n", RackSettings{Key: k, OldKeys: []RackKey{k}})
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "key", k, "rack", RackSettings{Key: k})
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "key", k, "rack", RackSettings{Key: k})
	if err := json.NewEncoder(&out).Encode(RackSettings{Key: k, OldKeys: []RackKey{k}}); err != nil {
		t.Fatal(err)
	}
	for _, leak := range []string{k.Reveal()[4:14], secret[:6], fmt.Sprintf("%x", secret[:6]), "65 66 67", "65,66,67"} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%q leaks in\n%s", leak, out.String())
		}
	}
}

func TestRackKeyChecksumFindsEveryTypo(t *testing.T) {
	text := NewRackKey().Reveal()
	missed := 0
	for i := len(keyPrefix); i < len(text); i++ {
		for _, c := range "abcdefghijklmnopqrstuvwxyz0123456789-_" {
			typed := text[:i] + string(c) + text[i+1:]
			var k RackKey
			if typed != text && k.UnmarshalText([]byte(typed)) == nil {
				missed++
			}
		}
	}
	// About 1,700 typos at 1 in 65,536 each: three misses come once in
	// some hundred thousand runs.
	if missed > 2 {
		t.Errorf("%d single typos were not noticed", missed)
	}
	var k RackKey
	if err := k.UnmarshalText([]byte(text)); err != nil || k.Reveal() != text {
		t.Errorf("a key does not survive its own text: %v", err)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"listen", "header_timeout", "key", "old_keys", "node"}
	for word, want := range map[string]string{
		"kee": "key", "lsiten": "listen", "Listen": "listen", "header-timeout": "header_timeout",
		"nod": "node", "xyz": "", "": "", "q": "", "completely": "", strings.Repeat("k", 1000): "",
	} {
		if got, ok := Nearest(word, words); got != want || ok != (want != "") {
			t.Errorf("%q means %q, want %q", word, got, want)
		}
	}
}
