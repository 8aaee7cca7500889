package admission

import (
	"container/list"
	"math"
	"sync"
)

// WaitList orders connections by how long their clients have kept the board waiting.
// The zero value is empty.
type WaitList struct {
	mu   sync.Mutex
	list list.List // of functions that end a connection; the longest wait first
}

// WaitEntry is a connection's entry in a WaitList. The zero value is in none.
type WaitEntry struct{ element *list.Element }

// Add puts a connection, which evict ends, at the end of the list, or moves it there.
func (w *WaitList) Add(e *WaitEntry, evict func()) {
	w.AddBounded(e, evict, math.MaxInt)
}

// AddBounded does what Add does; if the list is longer than limit then, the connection
// that has waited longest is removed and evicted.
func (w *WaitList) AddBounded(e *WaitEntry, evict func(), limit int) {
	w.mu.Lock()
	w.remove(e)
	e.element = w.list.PushBack(evict)
	var longest *list.Element
	if w.list.Len() > limit {
		longest = w.removeLongest()
	}
	w.mu.Unlock()
	if longest != nil {
		longest.Value.(func())()
	}
}

// Has reports whether a connection is in the list.
func (w *WaitList) Has(e *WaitEntry) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for element := w.list.Front(); element != nil; element = element.Next() {
		if element == e.element {
			return true
		}
	}
	return false
}

// Remove removes a connection if it is in the list.
func (w *WaitList) Remove(e *WaitEntry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.remove(e)
}

func (w *WaitList) remove(e *WaitEntry) {
	if e.element != nil {
		w.list.Remove(e.element) // does nothing if it has been evicted
		e.element = nil
	}
}

// evictLongest evicts the connection that has waited longest, and reports whether
// there was one.
func (w *WaitList) evictLongest() bool {
	w.mu.Lock()
	longest := w.removeLongest()
	w.mu.Unlock()
	if longest == nil {
		return false
	}
	longest.Value.(func())()
	return true
}

func (w *WaitList) removeLongest() *list.Element {
	longest := w.list.Front()
	if longest != nil {
		w.list.Remove(longest)
	}
	return longest
}
