package fulfilment

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Header fields of a signed post, as Standard Webhooks names them.
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"
)

// Limits of a secret in bytes, and the prefix of its base64.
const (
	minSecret    = 24
	maxSecret    = 64
	secretPrefix = "whsec_"
)

// ErrSecret: the text is not a webhook secret.
var ErrSecret = errors.New("not a webhook secret")

// Secret authenticates the sender of a webhook to its receiver. The zero value means
// no secret. Formatting it never reveals the key.
type Secret struct{ key []byte }

// ParseSecret parses "whsec_" and 24 to 64 bytes in base64. The error matches
// ErrSecret, has a remedy, and does not repeat the text.
func ParseSecret(text string) (Secret, error) {
	encoded, ok := strings.CutPrefix(text, secretPrefix)
	if !ok {
		return Secret{}, fmt.Errorf("%w: it begins with %q; make one with: echo %s$(head -c 32 /dev/urandom | base64)", ErrSecret, secretPrefix, secretPrefix)
	}
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || strings.ContainsAny(encoded, "\r\n") {
		return Secret{}, fmt.Errorf("%w: what follows %q must be base64 with its padding", ErrSecret, secretPrefix)
	}
	if len(key) < minSecret || len(key) > maxSecret {
		return Secret{}, fmt.Errorf("%w: it has %d bytes; it needs %d to %d, in base64 after %q", ErrSecret, len(key), minSecret, maxSecret, secretPrefix)
	}
	return Secret{key: key}, nil
}

func (s Secret) String() string { return "webhook secret" }

// GoString never returns it either.
func (s Secret) GoString() string { return s.String() }

// Sign returns the value of webhook-signature for a body, its id and the time of the post:
// version v1 of Standard Webhooks, HMAC-SHA256 over "id.seconds.body". The id must not
// contain a dot.
func (s Secret) Sign(id string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(id + "." + formatTimestamp(at) + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// formatTimestamp returns the value of webhook-timestamp: whole seconds since 1970.
func formatTimestamp(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }
