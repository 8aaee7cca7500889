package console

import "testing"

func TestAnAnnouncerNeverWaits(t *testing.T) {
	var a Announcer
	slow, unsubscribe := a.Subscribe()
	for range eventBuffer + 10 {
		a.Tell(Event{})
	}
	if len(slow) != eventBuffer {
		t.Errorf("a slow subscriber holds %d events, want %d", len(slow), eventBuffer)
	}
	unsubscribe()
	a.Tell(Event{})
	if a.Subscribers() != 0 {
		t.Error("a subscriber that has gone is kept")
	}
}
