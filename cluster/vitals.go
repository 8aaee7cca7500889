package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// State is the state of a board. The order of the values is on the wire: never change it.
type State uint8

const (
	Starting State = iota // the process is up, the board is not ready
	Joining               // it looks for its rack or catches up on purges
	Serving               // it owns its share of the keys
	Draining              // it gives up its keys by command; it still answers
	Drained               // it has no clients left
	Stopping              // it is about to leave
)

// String returns the state in lower case. A state of a later version is "state-9".
func (s State) String() string {
	names := [...]string{"starting", "joining", "serving", "draining", "drained", "stopping"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("state-%d", uint8(s))
}

func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Faults is a set of faults of a board: a bit field. The lamps show most of them by a gpio.FaultCode each
// (vitalsToPanel in package node maps them). The bits are on the wire: never renumber them.
type Faults uint32

const (
	PeerLost    Faults = 1 << iota // a board that it knows does not answer
	OriginDown                     // the origin does not answer, or answers with errors
	CutOff                         // it reaches only half of the rack or less
	ClockNotSet                    // its clock is not set or differs from the rack's, or the ledger's clock is held
	NameTaken                      // another board uses its name
	CardFailing                    // the folder of its orders is unusable, or its card is read-only, full or has errors
	NoMajority                     // the ledger accepts nothing: it has no majority, is not founded, or has halted
	PowerLow                       // its supply is too weak
	TooHot                         // heat slows it down
)

// Names lists the faults of the set in kebab case, in the order of their bits. A bit of a later version
// is "fault-9".
func (f Faults) Names() []string {
	known := [...]string{"peer-lost", "origin-down", "cut-off", "clock-not-set", "name-taken", "card-failing", "no-majority", "power-low", "too-hot"}
	var names []string
	for bit := range 32 {
		if f&(1<<bit) == 0 {
			continue
		}
		if bit < len(known) {
			names = append(names, known[bit])
		} else {
			names = append(names, fmt.Sprintf("fault-%d", bit))
		}
	}
	return names
}

// String returns the names separated by commas, or "none".
func (f Faults) String() string {
	if f == 0 {
		return "none"
	}
	return strings.Join(f.Names(), ", ")
}

// Flags are the facts about a board, besides state and faults, that its lamps and other boards show. The bits are on the wire: never
// renumber them.
type Flags uint32

const (
	Located Flags = 1 << iota // an operator is looking for this board
	Leading                   // it leads the ledger
)

// Vitals is a sample of a board's health, taken once per second. The comment of each field has its unit
// and, after the semicolon, the resolution of gossip.
type Vitals struct {
	State              State
	Faults             Faults
	ResponsesPerSecond float32       // responses per second over the last second; 0.1
	HitRatio           float32       // fraction of them from this board's memory, 0 to 1; 0.001
	CPU                float32       // cores in use by the process, 1 = one core; 0.01
	Memory             int64         // bytes resident
	Connections        int64         // open client connections
	CacheBytes         int64         // bytes in the cache
	CacheBudget        int64         // bytes that the cache may use
	Uptime             time.Duration // since the process started; one second
	Load               float32       // fraction of the board's capacity in use, 0 to 1; 0.01
}

const (
	// MaxMeta is memberlist's limit of a board's metadata, in bytes.
	MaxMeta = 512
	// MaxURL bounds each URL in a Meta, in bytes.
	MaxURL = 100
	// MaxVersion bounds the program's version in a Meta, in bytes.
	MaxVersion = 16

	// firstVersion is the format without flags and load, which are at the end.
	firstVersion = 1
	metaVersion  = 2
)

// ErrMeta is wrapped by every error about a Meta that cannot be written or read.
var ErrMeta = errors.New("board metadata")

// Meta is the metadata that a board gossips about itself. Its host is not included: that is the gossip
// address.
type Meta struct {
	Weight     int    // on the ring; 0 to MaxWeight
	LinkPort   uint16 // TCP port of the rack link; 0 if it has none
	HTTPURL    string // of its public pages, at most MaxURL bytes; "" = http://host of the gossip address
	ConsoleURL string // of its console, at most MaxURL bytes; "" = derived likewise
	Version    string // of the program, at most MaxVersion bytes
	Vitals     Vitals
	Flags      Flags
}

// Append appends the wire form of m to b. It fails, with ErrMeta, only if a string is too long or not
// plain text, or if Weight is out of range. Senseless numbers (negative, NaN) are sent as 0.
//
// The form is one byte with the version, 2, and then the struct's fields in order, the load last: numbers
// as unsigned varints in the resolution of Vitals, strings as their length and their bytes. It takes 60
// to 300 bytes, so MaxMeta leaves room to grow. A later version may only add at the end, with a higher
// version number. So each version can read every other as far as it knows the fields.
func (m Meta) Append(b []byte) ([]byte, error) {
	if m.Weight < 0 || m.Weight > MaxWeight {
		return b, fmt.Errorf("%w: weight %d is not between 0 and %d", ErrMeta, m.Weight, MaxWeight)
	}
	c := metaCodec{isWriting: true, bytes: append(b, metaVersion)}
	if m.code(&c, metaVersion); c.err != nil {
		return b, c.err
	}
	return c.bytes, nil
}

// code writes or reads the fields of a version in their order.
func (m *Meta) code(c *metaCodec, version byte) {
	v := &m.Vitals
	codeNumber(c, "weight", &m.Weight, MaxWeight)
	codeNumber(c, "link port", &m.LinkPort, math.MaxUint16)
	c.codeText("HTTP URL", &m.HTTPURL, MaxURL)
	c.codeText("console URL", &m.ConsoleURL, MaxURL)
	c.codeText("version", &m.Version, MaxVersion)
	codeNumber(c, "state", &v.State, math.MaxUint8)
	codeNumber(c, "faults", &v.Faults, math.MaxUint32)
	c.codeSteps("hits", &v.ResponsesPerSecond, 10, maxSteps)
	c.codeSteps("hit ratio", &v.HitRatio, 1000, 1000)
	c.codeSteps("CPU", &v.CPU, 100, maxSteps)
	codeNumber(c, "memory", &v.Memory, math.MaxInt64)
	codeNumber(c, "connections", &v.Connections, math.MaxInt64)
	codeNumber(c, "cache bytes", &v.CacheBytes, math.MaxInt64)
	codeNumber(c, "cache budget", &v.CacheBudget, math.MaxInt64)
	seconds := v.Uptime / time.Second
	codeNumber(c, "uptime", &seconds, math.MaxInt64/uint64(time.Second))
	v.Uptime = seconds * time.Second
	if version > firstVersion {
		codeNumber(c, "flags", &m.Flags, math.MaxUint32)
		c.codeSteps("load", &v.Load, 100, 100)
	}
}

// maxSteps bounds a rate on the wire: in steps of a tenth about 400,000, which a float32 still
// distinguishes, so that a value that was read is written as it was.
const maxSteps = 1 << 22

// toSteps returns x in whole steps of 1/scale, at most maxSteps, and 0 for a senseless reading.
func toSteps(x, scale float32) uint64 {
	n := math.Round(float64(x) * float64(scale))
	if !(n > 0) { // NaN too
		return 0
	}
	return uint64(min(n, maxSteps))
}

// checkText rejects strings that a console or a log should not show: a string must be UTF-8 without
// control characters.
func checkText(what, s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("%w: the %s has %d bytes; the limit is %d", ErrMeta, what, len(s), limit)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%w: the %s is not plain text", ErrMeta, what)
	}
	return nil
}

// ParseMeta reads the wire form of any version. A field that an earlier version does not have is zero, and
// bytes after the fields that this version knows are ignored. Errors wrap ErrMeta.
func ParseMeta(b []byte) (Meta, error) {
	if len(b) == 0 {
		return Meta{}, fmt.Errorf("%w: empty", ErrMeta)
	}
	if len(b) > MaxMeta {
		return Meta{}, fmt.Errorf("%w: %d bytes; the limit is %d", ErrMeta, len(b), MaxMeta)
	}
	if b[0] < firstVersion {
		return Meta{}, fmt.Errorf("%w: version %d is unknown", ErrMeta, b[0])
	}
	c := metaCodec{bytes: b[1:]}
	var m Meta
	if m.code(&c, b[0]); c.err != nil {
		return Meta{}, c.err
	}
	return m, nil
}

// metaCodec writes fields to the end of bytes, or reads them from their front; after the first error it reads zeros.
type metaCodec struct {
	isWriting bool
	bytes     []byte
	err       error
}

func codeNumber[T ~int | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64](c *metaCodec, what string, number *T, limit uint64) {
	if c.isWriting {
		c.bytes = binary.AppendUvarint(c.bytes, uint64(max(*number, 0)))
		return
	}
	n, size := binary.Uvarint(c.bytes)
	if c.err == nil && (size <= 0 || n > limit) {
		c.err = fmt.Errorf("%w: the %s is cut off or out of range", ErrMeta, what)
	}
	if c.err != nil {
		n, size = 0, 0
	}
	*number, c.bytes = T(n), c.bytes[size:]
}

// codeSteps codes a number in steps of 1/scale, at most limit of them.
func (c *metaCodec) codeSteps(what string, x *float32, scale float32, limit uint64) {
	n := min(toSteps(*x, scale), limit)
	codeNumber(c, what, &n, limit)
	*x = float32(n) / scale
}

func (c *metaCodec) codeText(what string, text *string, limit int) {
	n := len(*text)
	codeNumber(c, "length of the "+what, &n, uint64(limit))
	if c.isWriting {
		c.bytes = append(c.bytes, *text...)
	} else if n > len(c.bytes) {
		c.err = fmt.Errorf("%w: the %s is cut off", ErrMeta, what)
	} else {
		*text, c.bytes = string(c.bytes[:n]), c.bytes[n:]
	}
	if c.err == nil {
		c.err = checkText(what, *text, limit)
	}
}

// isMaterialChange reports whether a change from old to new should be gossiped at once, rather than with the
// next refresh. State, faults, flags, weight, addresses and version always count; a rate, a size or a count
// if it moved by a twentieth and by more than its noise; uptime never.
func isMaterialChange(old, new Meta) bool {
	a, b := old, new
	a.Vitals, b.Vitals = Vitals{}, Vitals{}
	if a != b {
		return true
	}
	oldVitals, newVitals := old.Vitals, new.Vitals
	return oldVitals.State != newVitals.State || oldVitals.Faults != newVitals.Faults || oldVitals.CacheBudget != newVitals.CacheBudget ||
		hasMoved(float64(oldVitals.ResponsesPerSecond), float64(newVitals.ResponsesPerSecond), 1) ||
		hasMoved(float64(oldVitals.HitRatio), float64(newVitals.HitRatio), 0.01) ||
		hasMoved(float64(oldVitals.CPU), float64(newVitals.CPU), 0.02) ||
		hasMoved(float64(oldVitals.Load), float64(newVitals.Load), 0.02) ||
		hasMoved(float64(oldVitals.Memory), float64(newVitals.Memory), 1<<20) ||
		hasMoved(float64(oldVitals.Connections), float64(newVitals.Connections), 2) ||
		hasMoved(float64(oldVitals.CacheBytes), float64(newVitals.CacheBytes), 256<<10)
}

// hasMoved reports whether b differs from a by more than noise and more than a twentieth of a.
func hasMoved(a, b, noise float64) bool {
	return math.Abs(b-a) > max(noise, math.Abs(a)/20)
}
