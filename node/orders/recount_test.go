package orders

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// recountRestored compares every counter and index of the book with the orders, as a Restore does: without the fingerprints in
// the indexes, which the snapshot's hash and CRC protect. The error is ErrBroken with the contradiction.
func (b *Book) recountRestored() error {
	return b.withReadTx(func(r *readTx) error {
		c := newRecount()
		for _, form := range buckets {
			if err := r.bucket(form.name).ForEach(func(k, v []byte) error { return c.addPair(form.name, k, v) }); err != nil {
				return err
			}
		}
		return c.compareTotals(r.tx)
	})
}

// recount is recountRestored, and compares the fingerprints besides.
func (b *Book) recount() error {
	if err := b.recountRestored(); err != nil {
		return err
	}
	return b.withReadTx(func(r *readTx) error {
		rules := rulesOf(b.meta.rules)
		return r.bucket(bucketOrders).ForEach(func(_, v []byte) error { return r.checkFingerprints(&rules, v) })
	})
}

// checkFingerprints looks an order up in the indexes: they have as many entries as the orders need.
func (r *readTx) checkFingerprints(rules *ruleSet, data []byte) error {
	o, err := r.decodeOrder(data)
	if err != nil {
		return err
	}
	o.computeFingerprints(rules)
	isPerson := bytes.Equal(r.bucket(bucketPeople).Get(personKey(o)), personValue(o))
	units := r.bucket(bucketAddresses).Get(addressKey(o))
	isAddress := units != nil && int(binary.BigEndian.Uint32(units)) == o.Quantity
	if o.State != StateErased && !isPerson || isAddress != (r.sales[o.sale].LimitByAddress && o.isLive()) {
		return fmt.Errorf("%w: order number %d: the fingerprints in the indexes are not its person's", ErrBroken, o.Number)
	}
	return nil
}
