package orders

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// DrawProgress returns how far a ballot's draw is: about done of total entries, done == total
// once it is finished. Two passes go over the entries: one issues the tickets in the order of
// the references, the other draws them in the order of the tickets. Both are evenly spread
// numbers, so the position of the next one tells the share that is done, without a count of
// what may be hundreds of thousands. The error is ErrNoSale, or the working copy's.
func (b *Book) DrawProgress(product string) (done, total int, err error) {
	err = b.withSaleTx(product, func(r *readTx, s *storedSale) error {
		total = s.Entries
		switch s.drawStage {
		case drawTickets:
			done = int(float64(total) * float64(s.cursor) / float64(MaxID) / 2)
		case drawAwards:
			prefix := uint16Key(s.number)
			next, _ := r.bucket(bucketTickets).Cursor().Seek(prefix)
			drawn := 1.0
			if bytes.HasPrefix(next, prefix) {
				drawn = float64(binary.BigEndian.Uint32(next[len(prefix):])) / (1 << 32)
			}
			done = int(float64(total) * (1 + drawn) / 2)
		case drawFinished, drawRanking, drawRanked:
			done = total
		}
		return nil
	})
	return done, total, err
}

// QueueHead returns the first orders in a product's queue, at most limit and MaxPage. The
// error is ErrNoSale, or the working copy's.
func (b *Book) QueueHead(product string, limit int) (head []Order, err error) {
	err = b.withSaleTx(product, func(r *readTx, s *storedSale) error {
		prefix := uint16Key(s.number)
		c := r.bucket(bucketQueue).Cursor()
		for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix) && len(head) < min(limit, MaxPage); k, v = c.Next() {
			o, err := r.orderByNumber(binary.BigEndian.Uint64(v))
			if err != nil {
				return err
			}
			head = append(head, o.Order)
		}
		return nil
	})
	return head, err
}

// FormatPercent writes hundredths of a percent, as Country.Tax has them: 1900 is "19", 550 is
// "5.5".
func FormatPercent(hundredths int) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%d.%02d", hundredths/100, hundredths%100), "0"), ".")
}
