package rackcache

import (
	"testing"
	"time"
)

func TestHotKeys(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	h := newHotKeys(start)
	h.countRequest("/a", start)
	if h.isHot("/a", start) {
		t.Error("one request makes a key hot")
	}
	h.countRequest("/a", start.Add(hotSpan-1))
	if !h.isHot("/a", start.Add(hotSpan-1)) {
		t.Errorf("%d requests within %v do not make a key hot", hotThreshold, hotSpan)
	}
	if h.isHot("/b", start) {
		t.Error("a key without requests is hot")
	}
	if h.isHot("/a", start.Add(hotSpan)) {
		t.Error("a key is hot in a span without requests")
	}
	for range 1 << 17 { // the count must not overflow into the number of the span
		h.countRequest("/a", start.Add(hotSpan))
	}
	if !h.isHot("/a", start.Add(hotSpan)) {
		t.Error("a very hot key is not hot")
	}
}
