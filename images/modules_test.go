package images

import (
	"slices"
	"strings"
	"testing"
)

func TestModuleClosure(t *testing.T) {
	modules := parseModules(`kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/jbd2/jbd2.ko
kernel/lib/crc16.ko:
kernel/drivers/leds/leds-gpio.ko.xz:
`)
	builtin := parseModules("kernel/fs/fat/vfat.ko\n")
	tests := []struct {
		wanted string
		files  []string
		wrong  string
	}{
		{"ext4 vfat", []string{"kernel/fs/ext4/ext4.ko", "kernel/fs/jbd2/jbd2.ko", "kernel/lib/crc16.ko"}, ""},
		{"leds-gpio", []string{"kernel/drivers/leds/leds-gpio.ko.xz"}, ""},
		{"crc16 ext4", []string{"kernel/fs/ext4/ext4.ko", "kernel/fs/jbd2/jbd2.ko", "kernel/lib/crc16.ko"}, ""},
		{"xfs", nil, "no module xfs"},
	}
	for _, tt := range tests {
		got, err := moduleClosure(modules, builtin, strings.Fields(tt.wanted))
		if !slices.Equal(got, tt.files) || tt.wrong == "" && err != nil || tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)) {
			t.Errorf("%s: %v, %v; want %v, %q", tt.wanted, got, err, tt.files, tt.wrong)
		}
	}
}

func TestLicenceOfText(t *testing.T) {
	for text, want := range map[string]string{
		"Apache License\n   Version 2.0, January 2004":               "Apache-2.0",
		"Mozilla Public License, version 2.0":                        "MPL-2.0",
		"Permission is hereby granted, free of charge, to any":       "MIT",
		"Redistributions in binary form must\n… Neither the name of": "BSD-3-Clause",
		"Redistributions in binary form must":                        "BSD-2-Clause",
		"Permission to use, copy, modify, and/or distribute this":    "ISC",
		"": "see its source",
	} {
		if got := licenceOfText(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestMissingToolsAreNamedTogether(t *testing.T) {
	_, err := findTools(tool{"no-such-1", "one"}, tool{"sh", "dash"}, tool{"no-such-2", "two"}, tool{"no-such-3", "two"})
	want := "tools are missing: no-such-1, no-such-2, no-such-3; run: sudo apt-get install one two"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
