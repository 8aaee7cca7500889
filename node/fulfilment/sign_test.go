package fulfilment

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// testSecret is 32 bytes for tests only.
const testSecret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

func TestParseSecret(t *testing.T) {
	of := func(n int) string { return "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for _, good := range []string{testSecret, of(24), of(64)} {
		if _, err := ParseSecret(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "whsec_", "hunter2", of(23), of(65), of(1 << 16), strings.TrimSuffix(of(32), "="), of(32) + "\n",
		"WHSEC_" + testSecret[6:], testSecret[6:], "whsec_****", "whsec_ " + testSecret[6:], "whsec_\x00", testSecret[:20] + "\r\n" + testSecret[20:],
	} {
		s, err := ParseSecret(bad)
		if !errors.Is(err, ErrSecret) {
			t.Errorf("%q: error %v, want ErrSecret", bad, err)
		}
		if s.key != nil {
			t.Errorf("%q: a secret beside the error", bad)
		}
		if len(bad) > 8 && err != nil && strings.Contains(err.Error(), bad) {
			t.Errorf("the error repeats the secret: %v", err)
		}
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	s, err := ParseSecret(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if got := fmt.Sprintf(form, struct{ S Secret }{s}); strings.Contains(got, "1 2 3") || strings.Contains(got, "0x1") || strings.Contains(got, "AAEC") {
			t.Errorf("%s prints %s", form, got)
		}
	}
}

// The library of the standard's authors accepts the signature, and nothing that
// was changed afterwards.
func TestSignIsStandard(t *testing.T) {
	secret, err := ParseSecret(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	official, err := standardwebhooks.NewWebhook(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	for _, body := range []string{"", "{}", `{"name":"Żółć \u0000"}`, strings.Repeat("x", 1<<16)} {
		h := http.Header{}
		h.Set(HeaderID, "K7QM-2XD9-5WZ")
		h.Set(HeaderTimestamp, formatTimestamp(at))
		h.Set(HeaderSignature, secret.Sign("K7QM-2XD9-5WZ", at, []byte(body)))
		if err := official.Verify([]byte(body), h); err != nil {
			t.Errorf("%.20q: %v", body, err)
		}
		if err := official.Verify([]byte(body+" "), h); err == nil {
			t.Errorf("%.20q: a changed body was accepted", body)
		}
		h.Set(HeaderID, "K7QM-2XD9-5WY")
		if err := official.Verify([]byte(body), h); err == nil {
			t.Errorf("%.20q: a changed id was accepted", body)
		}
	}
	// Known once and for all, should both change together.
	if got, want := secret.Sign("a", time.Unix(1330498800, 0), []byte("{}")), "v1,FmBcsIfjibthzWQp3FeN8xrzfcsCSzW1Ck0ziqfgeYA="; got != want {
		t.Errorf("signed %s, want %s", got, want)
	}
}
