package certs

import (
	"bytes"
	"testing"
	"time"
)

// FuzzParseBundle: no text makes the reader panic; what it accepts is good for the
// name, has its key, and reads the same again.
func FuzzParseBundle(f *testing.F) {
	good := bundleFor(f, time.Now(), time.Hour, "a.example", "*.b.example")
	f.Add("a.example", good)
	f.Add("x.b.example", good)
	f.Add("c.example", good)
	f.Add("", good)
	f.Add("a.example", append([]byte("text\n"), good...))
	f.Add("a.example", append(bytes.Clone(good), good...))
	f.Add("a.example", good[:len(good)/2])
	f.Add("a.example", bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")))
	f.Add("a.example", []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Add("a.example", []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, name string, bundle []byte) {
		one, err := parseBundle(name, bundle)
		if err != nil {
			return
		}
		if err := one.cert.Leaf.VerifyHostname(name); err != nil || one.cert.PrivateKey == nil || len(bundle) > maxBundle {
			t.Fatalf("accepted for %q: %v", name, err)
		}
		if again, err := parseBundle(name, one.bundle); err != nil || again.supersedes(one) || one.supersedes(again) {
			t.Fatalf("it does not read the same again: %v", err)
		}
	})
}

// FuzzParseChallenge: what is accepted is shown for its own key alone.
func FuzzParseChallenge(f *testing.F) {
	f.Add("token", []byte("token.thumbprint"))
	f.Add("token", []byte("other.thumbprint"))
	f.Add("", []byte("."))
	f.Add("alpn:a.example", bundleFor(f, time.Now(), time.Hour, "a.example"))
	f.Add("alpn:", []byte("alpn:.x"))
	f.Fuzz(func(t *testing.T, key string, body []byte) {
		one, err := parseChallenge(key, body)
		if err != nil {
			return
		}
		if (one.text == "") == (one.cert == nil) || one.text != "" && !bytes.HasPrefix(body, []byte(key+".")) || len(one.text) > maxToken {
			t.Fatalf("%q is shown %q, %v", key, one.text, one.cert)
		}
	})
}

// FuzzParseIndex: no text makes the reader panic.
func FuzzParseIndex(f *testing.F) {
	f.Add([]byte(`[{"name":"a.example","digest":"00"}]`))
	f.Add([]byte(`[]`))
	f.Add([]byte(`{"name":1}`))
	f.Add([]byte(`[null]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if list, err := parseIndex(data); err != nil && list != nil {
			t.Fatal("an error and a list")
		}
	})
}
