package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
)

// The stream is a line with its format, the header's length (4 bytes, big-endian) and JSON,
// the order book's snapshot in frames (a length of 4 bytes and as many bytes; length 0 ends
// them), and a checksum of everything before it: xxHash64, in format 1 SHA-256. It finds accidents; age
// finds forgeries. SHA-256 cost a first Pi 2.7 billion instructions a backup (DESIGN.md).
const (
	streamLine      = "bramble backup " // the format's number and a line feed follow
	format          = 2                 // that this program writes, and the newest that it reads
	maxHeaderBytes  = 64 << 10          // of the JSON
	frameSize       = 64 << 10          // bytes at most
	maxFormatDigits = 9                 // of a format's number
)

// Kinds of error of a file that is no good, to be matched with errors.Is. The text of each
// is a sentence for the operator.
var (
	ErrNotBackup = errors.New("this is not a backup of Bramble")
	ErrDamaged   = errors.New("the backup is damaged or cut off: use another one")
	ErrNewer     = errors.New("the backup was written by a newer program: update Bramble, then try again")
	ErrWrongKey  = errors.New("this passphrase or key does not open the backup")
)

// Header describes a backup.
type Header struct {
	Program  string    `json:"program"`  // version of the program that wrote it
	Board    string    `json:"board"`    // the board that wrote it
	Ledger   string    `json:"ledger"`   // the identity of its ledger
	Index    uint64    `json:"index"`    // of the last entry of the ledger in it
	At       time.Time `json:"at"`       // the ledger's clock at that entry
	Rules    uint32    `json:"rules"`    // version of the rules of that entry
	Digest   string    `json:"digest"`   // the order book's at that entry, 16 hex digits
	Orders   uint64    `json:"orders"`   // orders of all kinds so far
	Products []string  `json:"products"` // products that the order book has a sale of
	// Lacks and Unproven are set in the copy of one board (stale=1): the entries of its log
	// that are not in the backup, and those at its end that nothing proves to be committed.
	Lacks    uint64 `json:"lacks,omitempty"`
	Unproven int    `json:"unproven,omitempty"`
	// ReceiptKeys verify the links of receipts. They are secret, and derived from rack
	// keys, which they do not reveal.
	ReceiptKeys [][]byte `json:"receipt_keys"`
}

// WriteStream writes a backup as a plain stream. book is a snapshot at h.Index.
func WriteStream(to io.Writer, h Header, book io.WriterTo) error {
	text, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("backup: writing the header: %w", err)
	}
	if len(text) > maxHeaderBytes {
		return fmt.Errorf("backup: the header has %d bytes, at most %d", len(text), maxHeaderBytes)
	}
	sum := xxhash.New()
	out := io.MultiWriter(to, sum)
	start := binary.BigEndian.AppendUint32(fmt.Appendf(nil, "%s%d\n", streamLine, format), uint32(len(text)))
	if _, err := out.Write(append(start, text...)); err != nil {
		return fmt.Errorf("backup: writing the header: %w", err)
	}
	frames := bufio.NewWriterSize(frameWriter{out}, frameSize)
	if _, err := book.WriteTo(struct{ io.Writer }{frames}); err != nil {
		return fmt.Errorf("backup: writing the order book: %w", err)
	}
	if err := frames.Flush(); err != nil {
		return fmt.Errorf("backup: writing the order book: %w", err)
	}
	if _, err := out.Write(make([]byte, 4)); err != nil {
		return fmt.Errorf("backup: writing the end: %w", err)
	}
	if _, err := to.Write(sum.Sum(nil)); err != nil {
		return fmt.Errorf("backup: writing the end: %w", err)
	}
	return nil
}

// frameWriter writes each piece as frames of at most frameSize bytes.
type frameWriter struct{ to io.Writer }

func (f frameWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		part := p[:min(len(p), frameSize)]
		if _, err := f.to.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part)))); err != nil {
			return n, err
		}
		if _, err := f.to.Write(part); err != nil {
			return n, err
		}
		n += len(part)
		p = p[len(part):]
	}
	return n, nil
}

// ReadStream reads a plain stream to its end and checks it. use, which may be nil, gets the
// order book's snapshot; nothing is proven before ReadStream returns nil. Errors are of the
// kinds above, or use's.
func ReadStream(from io.Reader, use func(h Header, book io.Reader) error) (Header, error) {
	s := &streamReader{from: bufio.NewReaderSize(from, frameSize)}
	h, err := s.readHeader()
	if err != nil {
		return h, err
	}
	book := &bookReader{stream: s}
	if use != nil {
		if err := use(h, book); err != nil && (book.err == nil || book.err == io.EOF) {
			return h, err
		}
	}
	if _, err := io.Copy(io.Discard, book); err != nil {
		return h, err
	}
	want := s.sum.Sum(nil)
	wrote := make([]byte, len(want))
	if err := s.readFull(wrote); err != nil {
		return h, err
	}
	if !bytes.Equal(wrote, want) {
		return h, fmt.Errorf("%w (its checksum does not match)", ErrDamaged)
	}
	switch _, err := s.from.ReadByte(); {
	case err == nil:
		return h, fmt.Errorf("%w (there is data after its end)", ErrDamaged)
	case err != io.EOF:
		return h, damageOf(err)
	}
	return h, nil
}

// streamReader hashes what is read through it.
type streamReader struct {
	from *bufio.Reader
	sum  hash.Hash // of the format that its beginning names
}

func (s *streamReader) readFull(p []byte) error {
	if _, err := io.ReadFull(s.from, p); err != nil {
		return damageOf(err)
	}
	s.sum.Write(p)
	return nil
}

// damageOf returns what a failed read means for the backup.
func damageOf(err error) error {
	for _, kind := range []error{ErrDamaged, ErrNotBackup, ErrNewer, ErrWrongKey} {
		if errors.Is(err, kind) {
			return err
		}
	}
	return fmt.Errorf("%w (%w)", ErrDamaged, err)
}

// readHeader reads everything before the frames.
func (s *streamReader) readHeader() (h Header, err error) {
	start, err := s.from.Peek(len(streamLine) + maxFormatDigits + 1)
	if err != nil && err != io.EOF {
		return h, damageOf(err)
	}
	start, isBackup := bytes.CutPrefix(start, []byte(streamLine))
	digits, _, isWhole := bytes.Cut(start, []byte("\n"))
	number, notNumber := strconv.ParseUint(string(digits), 10, 32)
	switch {
	case !isBackup:
		return h, ErrNotBackup
	case !isWhole && err == io.EOF:
		return h, damageOf(io.ErrUnexpectedEOF)
	case !isWhole, notNumber != nil, number == 0:
		return h, ErrNotBackup
	case number > format:
		return h, fmt.Errorf("%w (format %d)", ErrNewer, number)
	}
	if s.sum = xxhash.New(); number == 1 {
		s.sum = sha256.New()
	}
	if err := s.readFull(make([]byte, len(streamLine)+len(digits)+1)); err != nil {
		return h, err
	}
	var size [4]byte
	if err := s.readFull(size[:]); err != nil {
		return h, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxHeaderBytes {
		return h, fmt.Errorf("%w (its header is too long)", ErrDamaged)
	}
	text := make([]byte, n)
	if err := s.readFull(text); err != nil {
		return h, err
	}
	if err := json.Unmarshal(text, &h); err != nil {
		return h, fmt.Errorf("%w (its header cannot be read)", ErrDamaged)
	}
	return h, nil
}

// bookReader reads the content of the frames.
type bookReader struct {
	stream *streamReader
	left   uint32 // of the current frame
	err    error  // the first, or io.EOF after the last frame
}

func (b *bookReader) Read(p []byte) (int, error) {
	if b.err == nil && b.left == 0 {
		b.err = b.openFrame()
	}
	if b.err != nil {
		return 0, b.err
	}
	p = p[:min(uint64(len(p)), uint64(b.left))]
	n, err := b.stream.from.Read(p)
	b.stream.sum.Write(p[:n])
	b.left -= uint32(n)
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		b.err = damageOf(err)
	}
	return n, b.err
}

// openFrame reads the length of the next frame; io.EOF if there is none.
func (b *bookReader) openFrame() error {
	var size [4]byte
	if err := b.stream.readFull(size[:]); err != nil {
		return err
	}
	switch b.left = binary.BigEndian.Uint32(size[:]); {
	case b.left == 0:
		return io.EOF
	case b.left > frameSize:
		return fmt.Errorf("%w (a part of it is too long)", ErrDamaged)
	}
	return nil
}
