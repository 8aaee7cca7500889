package ledger

import (
	"slices"

	"github.com/hashicorp/raft"
)

// termStart is where a log's entries of a term begin. Two logs are the same up to an entry of the same term: that is raft's
// rule, as long as no board forgets its votes. Copies of a card may use a term again, so Sum is the checksum of the
// term's first entry with commands, 0 if it has none. Index and Sum are 0 if the log does not reach back to the begin.
type termStart struct {
	Index, Term uint64
	Sum         uint32
}

// maxTermStarts limits the terms in a hello: each election that succeeds makes one.
const maxTermStarts = 16

// findShared returns the last index up to which two logs of one ledger certainly are the same, 0 if there is none.
func findShared(a, b logDescent) (shared uint64) {
	for i, s := range a.Terms {
		for j, t := range b.Terms {
			end := min(a.endOfTerm(i), b.endOfTerm(j))
			if end >= max(s.Index, t.Index) && (s == t || s.Term == t.Term && min(s.Index, t.Index) == 0) {
				shared = max(shared, end)
			}
		}
	}
	return shared
}

// endOfTerm returns the index of the last entry of one of its terms.
func (d logDescent) endOfTerm(i int) uint64 {
	if i+1 < len(d.Terms) {
		return min(d.Last, d.Terms[i+1].Index-1)
	}
	return d.Last
}

// listTerms returns the log's last terms, and the index of its last entry.
func (s *logStore) listTerms() (terms []termStart, last uint64) {
	s.sizeMu.Lock()
	defer s.sizeMu.Unlock()
	return s.terms, s.termsTo
}

// noteTerm notes the term of the log's next entry, or of one that replaces the entries from its index on.
func (s *logStore) noteTerm(l *raft.Log) {
	s.sizeMu.Lock()
	defer s.sizeMu.Unlock()
	terms := s.terms
	if n := len(terms); n > 0 && l.Index == s.termsTo+1 && terms[n-1].Term == l.Term && (terms[n-1].Sum != 0 || terms[n-1].Index == 0) {
		s.termsTo = l.Index // as nearly always: the term goes on
		return
	}
	if l.Index > s.termsTo+1 {
		terms = nil // a snapshot has what is between
	}
	for len(terms) > 0 && terms[len(terms)-1].Index >= l.Index {
		terms = terms[:len(terms)-1]
	}
	terms = slices.Clone(terms[max(0, len(terms)-maxTermStarts+1):])
	switch n := len(terms); {
	case n == 0 && l.Index > 1:
		terms = append(terms, termStart{Term: l.Term})
	case n == 0 || terms[n-1].Term != l.Term:
		terms = append(terms, termStart{Index: l.Index, Term: l.Term})
	}
	if t := &terms[len(terms)-1]; t.Index > 0 && t.Sum == 0 && countCommands(l) > 0 {
		t.Sum = entryChecksum(l)
	}
	s.terms, s.termsTo = terms, l.Index
}
