package admission

import (
	"testing"
	"time"
)

func TestBodyPaceDeadline(t *testing.T) {
	began := time.Unix(1000, 0)
	p := BodyPace{MaxLag: 5 * time.Second, Rate: 1000, Total: time.Minute}
	for got, want := range map[int64]time.Duration{
		0: 5 * time.Second, 500: 5500 * time.Millisecond, 10_000: 15 * time.Second, 1 << 40: time.Minute,
	} {
		if until := p.deadline(began, got).Sub(began); until != want {
			t.Errorf("after %d bytes more must arrive by %v, want %v", got, until, want)
		}
	}
	if until := (BodyPace{time.Second, 1, 1 << 62}).deadline(began, 1<<33); !until.After(began) {
		t.Errorf("a huge body is due at %v", until)
	}
}
