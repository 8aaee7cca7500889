package orders

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// forgetPerson carries out a Forget. The trail tells how many papers, not whose.
func (a *applyTx) forgetPerson(c Forget) (Answer, string) {
	if c.ID != 0 {
		p := a.orderByID(c.ID)
		switch {
		case p == nil:
			return Answer{Outcome: NoOrder}, "forget " + c.ID.String() + ": there is none"
		case p.State == StateForgotten:
			return Answer{Outcome: Same, Order: p.ID}, "forget " + c.ID.String() + ": it was already"
		case !a.eraseOrder(p):
			return Answer{Outcome: TooLate, Order: p.ID}, "forget " + c.ID.String() + ": its ballot is being drawn"
		}
		return Answer{Outcome: Done, Order: p.ID, Count: 1}, "forget " + c.ID.String()
	}
	var numbers []uint64
	more := 0
	email := emailPrint(c.Email)
	for k, _ := a.byPerson.Seek(email[:]); k != nil && bytes.HasPrefix(k, email[:]); k, _ = a.byPerson.Next() {
		if len(numbers) == MaxPerCommand {
			more++
			continue
		}
		numbers = append(numbers, binary.BigEndian.Uint64(k[len(k)-8:]))
	}
	answer := Answer{Outcome: Done, Left: more}
	for _, n := range numbers {
		p := a.orderByNumber(n)
		if p == nil {
			break
		}
		if a.eraseOrder(p) {
			answer.Count++
		} else {
			answer.Left++
		}
	}
	return answer, fmt.Sprintf("forget %d papers of a person", answer.Count)
}

// eraseOrder takes the person out of a paper, its note too, and out of the indexes. An open
// paper is cancelled first; one that is being handed over counts as handed over. It is
// false for an entry whose ballot is over and not drawn: it must stay in the list.
func (a *applyTx) eraseOrder(p *storedOrder) bool {
	s := a.b.sales[p.sale]
	if p.Cancellable() {
		if p.Kind == KindEntry && p.State == StateOpen && !a.now.Before(s.Closes) {
			return false
		}
		p = a.withdrawOrder(s, p, "")
	}
	next := a.withState(p, StateForgotten)
	next.Was = p.State
	next.Person = Person{}
	next.Note = ""
	next.mailJob, next.mailSince = 0, 0
	a.storeOrder(p, next)
	a.b.meta.erasures++
	return true
}
