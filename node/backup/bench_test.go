package backup

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
)

// BenchmarkBackup makes a backup of 100,000 orders. "stream" is the part of the board that
// sends it; "file" is the whole command: compressed, encrypted, synced, read back, and
// restored to a scratch copy.
func BenchmarkBackup(b *testing.B) {
	book := newTestBook(b, 100_000)
	from := sourceOf(book)
	var plain bytes.Buffer
	if err := from(b.Context(), &plain); err != nil {
		b.Fatal(err)
	}
	b.Run("stream", func(b *testing.B) {
		for b.Loop() {
			if err := from(b.Context(), io.Discard); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(plain.Len()), "bytes")
	})
	keyring := newPassphraseKeyring(b, testPassphrase)
	received := func(_ context.Context, to io.Writer) error {
		_, err := to.Write(plain.Bytes())
		return err
	}
	b.Run("seal", func(b *testing.B) { // what a board does besides for a scheduled one
		for b.Loop() {
			sealed(b, keyring, received)
		}
		b.ReportMetric(float64(len(sealed(b, keyring, received))), "bytes")
	})
	b.Run("file", func(b *testing.B) {
		dir := b.TempDir()
		for n := 0; b.Loop(); n++ {
			if _, _, err := Make(b.Context(), Folder(dir), fmt.Sprintf("%d.age", n), keyring, from, CheckBook); err != nil {
				b.Fatal(err)
			}
		}
	})
}
