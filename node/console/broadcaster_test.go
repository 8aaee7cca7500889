package console

import "testing"

func TestPublishNeverBlocks(t *testing.T) {
	var b Broadcaster
	slow, unsubscribe := b.Subscribe()
	for range subscriberBuffer + 10 {
		b.Publish(Event{})
	}
	if len(slow) != subscriberBuffer {
		t.Errorf("a slow subscriber holds %d events, want %d", len(slow), subscriberBuffer)
	}
	unsubscribe()
	b.Publish(Event{})
	if len(b.subscribers) != 0 {
		t.Error("an ended subscription is still there")
	}
}
