package admission

import "testing"

// fakeConn notes that it is evicted.
type fakeConn struct {
	entry   WaitEntry
	evicted bool
}

func (c *fakeConn) Evict() { c.evicted = true }

func TestTheLongestWaitIsEvictedFirst(t *testing.T) {
	var w WaitList
	all := []*fakeConn{new(fakeConn), new(fakeConn), new(fakeConn)}
	for _, one := range all {
		w.Add(&one.entry, one.Evict)
	}
	w.Remove(&all[0].entry)            // has sent what it had to send
	w.Add(&all[1].entry, all[1].Evict) // has been answered, and is silent again
	for i, want := range []*fakeConn{all[2], all[1]} {
		if !w.evictLongest() || !want.evicted {
			t.Errorf("number %d to be evicted is the wrong one", i)
		}
	}
	if w.evictLongest() || all[0].evicted {
		t.Error("one is evicted that does not wait")
	}
	w.Remove(&all[1].entry) // it is in no list any more
}

func TestAWaitListIsBounded(t *testing.T) {
	var w WaitList
	all := []*fakeConn{new(fakeConn), new(fakeConn), new(fakeConn)}
	for _, one := range all {
		w.AddBounded(&one.entry, one.Evict, 2)
	}
	if !all[0].evicted || all[1].evicted || all[2].evicted {
		t.Errorf("evicted: %v, %v, %v", all[0].evicted, all[1].evicted, all[2].evicted)
	}
}
