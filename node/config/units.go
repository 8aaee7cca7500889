package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time. In the file it is a string with a unit: "500ms", "10s",
// "1m30s", "24h".
type Duration time.Duration

// UnmarshalText reads the syntax of time.ParseDuration, but no negative value.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return errors.New(`a duration needs a number and its unit (ms, s, m, h), such as "10s"`)
	}
	if v < 0 {
		return errors.New("a duration cannot be negative")
	}
	*d = Duration(v)
	return nil
}

func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String returns the duration as a person would write it: "10m", not "10m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Size is a number of bytes. In the file it is a string with a unit, or a plain number
// of bytes. MB is a million bytes and MiB is 1,048,576, as in the standards, and
// likewise kB, GB and KiB, GiB.
type Size int64

// Units of Size.
const (
	Byte Size = 1
	KB   Size = 1000
	MB   Size = 1000 * KB
	GB   Size = 1000 * MB
	KiB  Size = 1024
	MiB  Size = 1024 * KiB
	GiB  Size = 1024 * MiB
)

// sizeUnit is one unit of sizes. String uses the first that divides the size.
type sizeUnit struct {
	name string
	size Size
}

func sizeUnits() []sizeUnit {
	return []sizeUnit{
		{"GB", GB}, {"GiB", GiB}, {"MB", MB}, {"MiB", MiB}, {"kB", KB}, {"KiB", KiB}, {"B", Byte},
	}
}

// UnmarshalText reads digits and an optional unit, in any case of letters:
// "64MB", "64 MiB", "65536".
func (s *Size) UnmarshalText(text []byte) error {
	digits := string(text)
	unit := Byte
	for _, u := range sizeUnits() {
		if len(digits) > len(u.name) && strings.EqualFold(digits[len(digits)-len(u.name):], u.name) {
			digits, unit = strings.TrimRight(digits[:len(digits)-len(u.name)], " "), u.size
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && n > math.MaxInt64/uint64(unit):
		return errors.New("this size is too large")
	case err != nil:
		return errors.New(`a size needs whole digits and a unit (kB, MB, GB, KiB, MiB, GiB), such as "64MB"`)
	}
	*s = Size(n) * unit
	return nil
}

func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String returns the size in the largest unit that loses nothing.
func (s Size) String() string {
	for _, u := range sizeUnits() {
		if s != 0 && s%u.size == 0 {
			return fmt.Sprintf("%d%s", int64(s/u.size), u.name)
		}
	}
	return fmt.Sprintf("%dB", int64(s))
}
