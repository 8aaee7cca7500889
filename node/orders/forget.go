package orders

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// forget carries out a Forget. The trail tells how many papers, not whose.
func (a *apply) forget(c Forget) (Answer, string) {
	if c.ID != 0 {
		p := a.paper(c.ID)
		switch {
		case p == nil:
			return Answer{Outcome: NoPaper}, "forget " + c.ID.String() + ": there is none"
		case p.State == StateForgotten:
			return Answer{Outcome: Same, Paper: p.ID}, "forget " + c.ID.String() + ": it was already"
		case !a.erase(p):
			return Answer{Outcome: TooLate, Paper: p.ID}, "forget " + c.ID.String() + ": its ballot is being drawn"
		}
		return Answer{Outcome: Done, Paper: p.ID, Count: 1}, "forget " + c.ID.String()
	}
	var numbers []uint64
	more := 0
	email := emailPrint(c.Email)
	for k, _ := a.byPerson.Seek(email[:]); k != nil && bytes.HasPrefix(k, email[:]); k, _ = a.byPerson.Next() {
		if len(numbers) == MaxWave {
			more++
			continue
		}
		numbers = append(numbers, binary.BigEndian.Uint64(k[len(k)-8:]))
	}
	answer := Answer{Outcome: Done, Left: more}
	for _, n := range numbers {
		p := a.numbered(n)
		if p == nil {
			break
		}
		if a.erase(p) {
			answer.Count++
		} else {
			answer.Left++
		}
	}
	return answer, fmt.Sprintf("forget %d papers of a person", answer.Count)
}

// erase takes the person out of a paper, its note too, and out of the indexes. An open
// paper is cancelled first; one that is being handed over counts as handed over. It is
// false for an entry whose ballot is over and not drawn: it must stay in the list.
func (a *apply) erase(p *paper) bool {
	s := a.b.sales[p.sale]
	if p.Cancellable() {
		if p.Kind == KindEntry && p.State == StateOpen && !a.now.Before(s.Closes) {
			return false
		}
		p = a.takeBack(s, p, "")
	}
	next := a.become(p, StateForgotten)
	next.Was = p.State
	next.Person = Person{}
	next.Note = ""
	next.mail, next.since = 0, 0
	a.settle(p, next)
	a.b.meta.erased++
	return true
}
