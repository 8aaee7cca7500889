package orders

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// MaxReceiptKeys limits the keys of receipts that a book has, the ended ones among them.
const MaxReceiptKeys = 32

// linkMailInterval separates the mails with new links: mail servers take some thousands an hour.
const linkMailInterval = time.Second

// ReceiptKey is a key whose links of receipts this ledger knows.
type ReceiptKey struct {
	Key   [32]byte
	Own   bool // a secret of the ledger; otherwise the key was derived from a rack key, before ledgers had one
	Ended bool // its links open nothing any more
}

func (r ReceiptKey) isOwn() bool { return r.Own }

// HasSecret reports whether the ledger has a secret of its own; before SetReceiptSecret it has none.
func (b *Book) HasSecret() bool { return slices.ContainsFunc(b.ReceiptKeys(), ReceiptKey.isOwn) }

// SetReceiptSecret gives the ledger a secret that signs links of receipts from then on. First is the
// leader's: it does nothing if the ledger has a secret (AlreadyDone), and its Former keys stay accepted if
// there are orders. Otherwise it is an operator's rotation: links of the secrets before go on, or with
// Revoke they end, and Ticks queue a mail about each live order. Full: MaxReceiptKeys are accepted.
type SetReceiptSecret struct {
	Operation
	Secret        [32]byte
	Former        [][32]byte
	First, Revoke bool
}

func (s SetReceiptSecret) encodeCommand() []byte { return encodeAs(opSetReceiptSecret, &s) }
func (s *SetReceiptSecret) codeFields(c fieldCodec) {
	c.codeAll(&s.Operation, &s.Secret, &s.Former, &s.First, &s.Revoke)
}

func (s SetReceiptSecret) checkFields() error {
	return cmp.Or(s.Operation.checkFields(), requireField(s.Secret != [32]byte{}, "Secret", "is missing"),
		requireField(len(s.Former) < MaxReceiptKeys && (s.First || len(s.Former) == 0), "Former", "are too many"),
		requireField(!s.First || !s.Revoke, "Revoke", "does not go with First"))
}

func (a *applyTx) setReceiptSecret(c SetReceiptSecret) (Answer, string) {
	action := "rotate the secret of receipts"
	if c.First {
		action = "make the secret of receipts"
		if slices.ContainsFunc(readReceiptKeys(a.restore), ReceiptKey.isOwn) {
			return Answer{Outcome: AlreadyDone}, action
		}
		if a.b.meta.orders > 0 { // otherwise no link was signed
			a.addReceiptKeys(c.Former)
		}
	}
	keys := readReceiptKeys(a.restore)
	if c.Revoke {
		action += ", end all links"
		for i := range keys {
			keys[i].Ended = true
		}
		a.put(a.restore, []byte(revokedKey), uint64Key(uint64(a.at)))
		a.put(a.restore, []byte(linkMailKey), append(uint64Key(0), uint64Key(uint64(a.at))...))
	}
	if len(keys) >= MaxReceiptKeys {
		drop := slices.IndexFunc(keys, func(k ReceiptKey) bool { return k.Ended })
		if drop < 0 {
			return Answer{Outcome: Full}, action
		}
		keys = slices.Delete(keys, drop, drop+1)
	}
	a.putReceiptKeys(append(keys, ReceiptKey{Key: c.Secret, Own: true}))
	return Answer{Outcome: Done}, action
}

// addReceiptKeys stores derived keys that the book does not have yet, before those that it has; beyond
// MaxReceiptKeys it has the newest.
func (a *applyTx) addReceiptKeys(keys [][32]byte) {
	all := readReceiptKeys(a.restore)
	for _, key := range slices.Backward(keys) {
		if !slices.ContainsFunc(all, func(have ReceiptKey) bool { return have.Key == key }) {
			all = slices.Insert(all, 0, ReceiptKey{Key: key})
		}
	}
	a.putReceiptKeys(all[max(0, len(all)-MaxReceiptKeys):])
}

func (a *applyTx) putReceiptKeys(keys []ReceiptKey) {
	for n, k := range keys {
		value := bytes.Clone(k.Key[:])
		if k.Own || k.Ended {
			w := encoder{data: value}
			w.bool(k.Own)
			w.bool(k.Ended)
			value = w.data
		}
		a.put(a.restore, append([]byte(receiptKeyKey), byte(n)), value)
	}
}

// readReceiptKeys returns the keys, oldest first; the last own one signs.
func readReceiptKeys(restore *bbolt.Bucket) []ReceiptKey {
	var keys []ReceiptKey
	c := restore.Cursor()
	for k, v := c.Seek([]byte(receiptKeyKey)); k != nil && bytes.HasPrefix(k, []byte(receiptKeyKey)); k, v = c.Next() {
		d := decoder{data: v}
		key := ReceiptKey{Key: d.bytes32()}
		if len(d.data) > 0 {
			key.Own, key.Ended = d.bool(), d.bool()
		}
		keys = append(keys, key)
	}
	return keys
}

// ReceiptKeys returns the keys of receipts' links, oldest first; the last own one signs.
func (b *Book) ReceiptKeys() []ReceiptKey { return b.readModel.Load().receiptKeys }

// queueLinkMails gives live orders, at most work, the mail with their new link, and returns the number that
// it looked at. A mail that waits already has the new link.
func (a *applyTx) queueLinkMails(work int) (done int) {
	state := a.restore.Get([]byte(linkMailKey)) // next order's number (8), when the last mail is due (8)
	if state == nil {
		return 0
	}
	next, due := binary.BigEndian.Uint64(state), int64(binary.BigEndian.Uint64(state[8:]))
	for ; done < work && a.err == nil; done++ {
		k, _ := a.orders.Cursor().Seek(uint64Key(next))
		if k == nil {
			a.remove(a.restore, []byte(linkMailKey))
			return done + 1
		}
		next = binary.BigEndian.Uint64(k) + 1
		if o := a.orderByNumber(next - 1); o != nil && a.b.sales[o.sale].Mail && o.isLive() && o.mailJob == 0 {
			due = max(due, a.at) + linkMailInterval.Milliseconds()
			n := *o
			a.queueMailAt(&n, JobMailLink, due)
			a.storeOrder(o, &n)
		}
	}
	a.put(a.restore, []byte(linkMailKey), append(uint64Key(next), uint64Key(uint64(due))...))
	return done
}

// CountLinkMails returns the number of mails that a SetReceiptSecret with Revoke causes.
func (b *Book) CountLinkMails() (n int, err error) {
	err = b.withReadTx(func(r *readTx) error {
		c := r.bucket(bucketPeople).Cursor()
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			if k[18] == 0 && b.readModel.Load().sales[binary.BigEndian.Uint16(k[16:])].Mail {
				n++
			}
		}
		return nil
	})
	return n, err
}
