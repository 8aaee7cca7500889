package pins

import "testing"

func TestHolderName(t *testing.T) {
	for consumer, want := range map[string]string{"": "the kernel", "spi0 CS0": `"spi0 CS0"`, "bramble@41": `"bramble@41"`, "bramble@42": ""} {
		if got := holderName(consumer, 42); got != want {
			t.Errorf("%q: %q, want %q", consumer, got, want)
		}
	}
	if got := lineHolder("/nonexistent/gpiochip", 1); got != "" {
		t.Errorf("no chip is held by %q", got)
	}
}
