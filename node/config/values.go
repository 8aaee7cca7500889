package config

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
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

// String returns the size in the largest unit that loses nothing.
func (s Size) String() string {
	for _, u := range sizeUnits() {
		if s != 0 && s%u.size == 0 {
			return fmt.Sprintf("%d%s", int64(s/u.size), u.name)
		}
	}
	return fmt.Sprintf("%dB", int64(s))
}

// RackKeySize is the length of a rack key's secret in bytes.
const RackKeySize = 32

const (
	keyPrefix    = "brk_"                 // makes a key recognisable to people, and to tools that search files for secrets
	checksumSize = 2                      // bytes; of 65,536 mistyped keys one passes
	redactedKey  = keyPrefix + "redacted" // shown in place of a key
)

// keyText is the length of a key in text: base64 holds six bits per character.
const keyText = len(keyPrefix) + ((RackKeySize+checksumSize)*8+5)/6

// keyEncoding is strict so that one key has one spelling.
func keyEncoding() *base64.Encoding { return base64.RawURLEncoding.Strict() }

// RackKey is the secret that the boards of a rack share: any program that has it can join.
// fmt, log/slog, JSON and TOML print a placeholder; only Reveal and Bytes
// return the secret. The zero RackKey is no key.
type RackKey struct {
	secret [RackKeySize]byte
}

// NewRackKey returns a key from the system's source of randomness.
func NewRackKey() RackKey {
	var k RackKey
	rand.Read(k.secret[:]) // never fails: see crypto/rand
	return k
}

// IsZero reports whether there is no key.
func (r RackKey) IsZero() bool { return r == RackKey{} }

// Bytes returns a copy of the secret, RackKeySize bytes.
func (r RackKey) Bytes() []byte { return append([]byte(nil), r.secret[:]...) }

// Reveal returns the text form that UnmarshalText reads: a prefix, then the
// secret and two bytes of checksum in base64url (RFC 4648 section 5).
func (r RackKey) Reveal() string {
	sum := r.checksum()
	return keyPrefix + keyEncoding().EncodeToString(append(r.Bytes(), sum[:]...))
}

// checksum returns the start of a hash of the secret. A label separates it from every
// other hash of the secret.
func (r RackKey) checksum() [checksumSize]byte {
	full := sha256.Sum256(append([]byte("bramble rack key\x00"), r.secret[:]...))
	return [checksumSize]byte(full[:checksumSize])
}

// UnmarshalText reads the output of Reveal. An error explains what is wrong and never
// repeats any part of the text.
func (r *RackKey) UnmarshalText(text []byte) error {
	const remedy = `copy the whole line that "bramble key" printed`
	s := string(text)
	switch {
	case s == "":
		return errors.New(`it is empty: run "bramble key" and paste its line under [rack]`)
	case s == redactedKey:
		return errors.New(`it is only a placeholder for the key: "bramble config --show-secrets" prints the key itself`)
	case len(s) < keyText:
		return fmt.Errorf("too short: it has %d of a key's %d characters; %s", len(s), keyText, remedy)
	case len(s) > keyText:
		return fmt.Errorf("too long: it has %d characters and a key has %d; %s", len(s), keyText, remedy)
	case !strings.HasPrefix(s, keyPrefix):
		return fmt.Errorf("it is not a rack key, which begins with %q; %s", keyPrefix, remedy)
	}
	raw, err := keyEncoding().DecodeString(s[len(keyPrefix):])
	var at base64.CorruptInputError
	switch {
	case errors.As(err, &at):
		return fmt.Errorf("mistyped at character %d; %s", len(keyPrefix)+int(at)+1, remedy)
	case err != nil || len(raw) != RackKeySize+checksumSize:
		return errors.New("mistyped: it is not base64url; " + remedy)
	}
	read := RackKey{secret: [RackKeySize]byte(raw[:RackKeySize])}
	if read.checksum() != [checksumSize]byte(raw[RackKeySize:]) {
		return errors.New("mistyped: its checksum does not match; " + remedy)
	}
	if read.IsZero() {
		return errors.New(`its secret is all zeros: run "bramble key" for a random key`)
	}
	*r = read
	return nil
}

// MarshalText returns a placeholder, so that no encoder reveals the key.
func (r RackKey) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String returns a placeholder, or "" for no key.
func (r RackKey) String() string {
	if r.IsZero() {
		return ""
	}
	return redactedKey
}

// Format prints the placeholder for every verb, %d and %#v included.
func (r RackKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, r.String()) }

// LogValue returns the placeholder.
func (r RackKey) LogValue() slog.Value { return slog.StringValue(r.String()) }
