package console

import "testing"

func TestAnAnnouncerNeverWaits(t *testing.T) {
	var a Broadcaster
	slow, unsubscribe := a.Subscribe()
	for range subscriberBuffer + 10 {
		a.Publish(Event{})
	}
	if len(slow) != subscriberBuffer {
		t.Errorf("a slow subscriber holds %d events, want %d", len(slow), subscriberBuffer)
	}
	unsubscribe()
	a.Publish(Event{})
	if a.Subscribers() != 0 {
		t.Error("a subscriber that has gone is kept")
	}
}
