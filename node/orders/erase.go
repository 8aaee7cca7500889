package orders

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// erasePerson carries out an Erase. The audit trail has the number of orders and no name.
func (a *applyTx) erasePerson(c Erase) (Answer, string) {
	a.noteErasure() // also if the book does not have the person: the log may, in a form that was refused
	if c.ID != 0 {
		o := a.orderByID(c.ID)
		switch {
		case o == nil:
			return Answer{Outcome: NoOrder}, "erase " + c.ID.String() + ": there is no such order"
		case o.State == StateErased:
			return Answer{Outcome: AlreadyDone, Order: o.ID}, "erase " + c.ID.String() + ": it was erased before"
		case !a.eraseOrder(o):
			return Answer{Outcome: TooLate, Order: o.ID}, "erase " + c.ID.String() + ": its ballot is being drawn"
		}
		a.remove(a.restore, []byte(restoredKey))
		return Answer{Outcome: Done, Order: o.ID, Count: 1}, "erase " + c.ID.String()
	}
	answer := Answer{Outcome: Done}
	var found []*storedOrder
	email := fingerprintOf([]byte(a.rules.normalEmail(c.Email)))
	for k, _ := a.byPerson.Seek(email[:]); k != nil && bytes.HasPrefix(k, email[:]); k, _ = a.byPerson.Next() {
		switch o := a.orderByNumber(binary.BigEndian.Uint64(k[len(k)-8:])); {
		case o == nil || !a.rules.erasesTogether(o.Person.Email, c.Email):
		case len(found) == MaxPerCommand:
			answer.Remaining++
		default:
			found = append(found, o)
		}
	}
	for _, o := range found {
		if a.eraseOrder(o) {
			answer.Count++
		} else {
			answer.Remaining++
		}
	}
	if answer.Count > 0 {
		a.remove(a.restore, []byte(restoredKey))
	}
	if len(found) > 0 && answer.Remaining == 0 && a.rules.limitsMail { // also if the person has other mailboxes
		mailbox := fingerprintOf([]byte(mailboxText(c.Email)))
		a.removePrefix(a.restore, slices.Concat([]byte(mailTimesKey), email[:], mailbox[:]))
	}
	return answer, fmt.Sprintf("erase %d orders of a person", answer.Count)
}

// OrdersOfPerson returns the orders that an Erase of an e-mail address reaches, and the person's others; at most MaxPage of each.
// The error is a FieldError if that is no address, or the working copy's.
func (b *Book) OrdersOfPerson(email string) (own, others []Order, err error) {
	if err := checkEmail("Email", email); err != nil {
		return nil, nil, err
	}
	err = b.withReadTx(func(r *readTx) error {
		rules := rulesOf(b.Rules())
		prefix := fingerprintOf([]byte(rules.normalEmail(email)))
		c := r.bucket(bucketPeople).Cursor()
		for k, _ := c.Seek(prefix[:]); bytes.HasPrefix(k, prefix[:]); k, _ = c.Next() {
			o, err := r.orderByNumber(binary.BigEndian.Uint64(k[len(k)-8:]))
			if err != nil {
				return err
			}
			list := &others
			if rules.erasesTogether(o.Person.Email, email) {
				list = &own
			}
			if len(*list) < MaxPage {
				*list = append(*list, o.Order)
			}
		}
		return nil
	})
	return own, others, err
}

// eraseOrder removes the person and the note from an order, and the person from the indexes.
// An open order is cancelled first; one that is being fulfilled stays sold. It returns false
// for an entry whose ballot is over and not drawn: that entry must stay in the list.
func (a *applyTx) eraseOrder(o *storedOrder) bool {
	s := a.b.sales[o.sale]
	if o.Cancellable() {
		if o.Kind == KindEntry && o.State == StateOpen && a.hasFixedEntries(s) {
			return false
		}
		o = a.withdrawOrder(s, o, "", true)
	}
	next := a.withState(o, StateErased)
	next.Was = o.State
	a.dropMail(next)
	next.Person = Person{}
	next.Note = ""
	a.storeOrder(o, next)
	a.forgetMailTimes(o)
	a.b.meta.erasures++
	a.noteErasure()
	return true
}

// noteErasure notes that the files of the ledger have, up to this entry, people who must not be there any more.
func (a *applyTx) noteErasure() {
	if a.rules.version > 1 { // before, a snapshot cannot have it
		a.put(a.restore, []byte(erasedKey), uint64Key(a.b.meta.index))
	}
}

// ErasedAt returns the index of the newest entry that erased people, or looked for them; 0 if there is none. Up to
// there the ledger's log and the file of the working copy may have people whom the book does not: see Rewrite.
func (b *Book) ErasedAt() uint64 { return b.readModel.Load().erasedAt }
