package ledger

import (
	"encoding/json"
	"testing"
)

// What a board has and another ledger lacks: after a recovery, between two recoveries, and if both were founded apart.
func TestCountAhead(t *testing.T) {
	const old, recovered, other, later = ledgerID(1), ledgerID(2), ledgerID(3), ledgerID(4)
	fork := func(from ledgerID, index, term, proven uint64) ledgerFork {
		return ledgerFork{from, index, term, proven}
	}
	went := []ledgerFork{fork(old, 10, 2, 9)}
	for _, c := range []struct {
		name         string
		board, rival logDescent
		want         uint64
	}{
		{"the given-up board has more", logDescent{old, nil, 17, 2}, logDescent{recovered, went, 30, 3}, 7},
		{"it has the same", logDescent{old, nil, 10, 2}, logDescent{recovered, went, 30, 3}, 0},
		{"it has less", logDescent{old, nil, 6, 1}, logDescent{recovered, went, 30, 3}, 0},
		{"its leader wrote no commands", logDescent{old, nil, 9, 4}, logDescent{recovered, went, 30, 5}, 0},
		{"a later leader's entries, from the proven one on", logDescent{old, nil, 12, 3}, logDescent{recovered, went, 30, 4}, 3},
		{"what was taken since", logDescent{recovered, went, 30, 3}, logDescent{old, nil, 17, 2}, 21},
		{"two recoveries of one ledger", logDescent{other, []ledgerFork{fork(old, 14, 2, 14)}, 20, 3}, logDescent{recovered, went, 30, 3}, 11},
		{"recovered twice, seen from the first", logDescent{old, nil, 17, 2}, logDescent{later, append(went, fork(recovered, 30, 3, 30)), 40, 4}, 7},
		{"recovered twice, seen from the second", logDescent{recovered, went, 33, 3}, logDescent{later, append(went, fork(recovered, 30, 3, 30)), 40, 4}, 3},
		{"founded apart", logDescent{old, nil, 17, 2}, logDescent{other, nil, 5, 2}, 17},
		{"recovered by an older program", logDescent{old, nil, 17, 2}, logDescent{recovered, nil, 30, 3}, 17},
		{"an older program", logDescent{}, logDescent{recovered, went, 30, 3}, 0},
	} {
		if got := c.board.countAhead(c.rival); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// An identity of before forks were noted is read, and one with a fork keeps it.
func TestIdentitiesOfBefore(t *testing.T) {
	var id boardIdentity
	if err := json.Unmarshal([]byte(`{"Server":"b1.00000001","Ledger":7,"Superseded":[5],"Starts":{"Count":1,"Recent":[9]}}`), &id); err != nil ||
		id.Ledger != 7 || len(id.Superseded) != 1 || id.Forks != nil {
		t.Errorf("%+v, %v", id, err)
	}
	id.Forks = []ledgerFork{{Ledger: 5, Index: 10, Term: 2, Proven: 9}}
	b, err := json.Marshal(id)
	var again boardIdentity
	if err == nil {
		err = json.Unmarshal(b, &again)
	}
	if err != nil || len(again.Forks) != 1 || again.Forks[0] != id.Forks[0] {
		t.Errorf("%s: %+v, %v", b, again, err)
	}
}
