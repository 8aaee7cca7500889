package proxyfields

import (
	"net/textproto"
	"testing"
)

// A table entry that is not in canonical form would match nothing.
func TestTableIsCanonical(t *testing.T) {
	f := New()
	for name := range f.names {
		if textproto.CanonicalMIMEHeaderKey(name) != name {
			t.Errorf("%s", name)
		}
	}
	for _, prefix := range f.prefixes {
		if textproto.CanonicalMIMEHeaderKey(prefix+"x") != prefix+"x" && textproto.CanonicalMIMEHeaderKey(prefix+"X") != prefix+"X" {
			t.Errorf("%s*", prefix)
		}
	}
}
