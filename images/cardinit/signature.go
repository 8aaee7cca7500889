package cardinit

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ReleaseKey is the public key of Bramble's releases. It is empty, and accepts nothing, until
// the maintainer has made one (DESIGN.md).
const ReleaseKey = ""

const (
	// publicHead begins each public key: ed25519's SubjectPublicKeyInfo (RFC 8410) in base64.
	publicHead = "MCowBQYDK2VwAyEA"
	// statementFormat names the purpose of a signature, and the machines that it is for.
	statementFormat = "bramble card update 1, linux/arm"
)

// Statement is what the signature of an update covers. slot.sig has the signature, in base64 on
// a line, and below it the statement as JSON.
type Statement struct {
	Format   string    `json:"format"`
	Key      string    `json:"key"` // the public key
	Version  string    `json:"version"`
	Released time.Time `json:"released"` // the older of two versions has the earlier time
	// Replaces lets cards go back from versions of until then; only an owner's key can do that.
	Replaces time.Time `json:"replaces,omitzero"`
	// Files are of a slot; a/cmdline.txt and b/cmdline.txt are of one of the two.
	Files []SlotFile `json:"files"`
}

// NewUpdateKey makes a pair of ed25519 keys: the private one as a PEM file (PKCS #8), and the
// public one in base64, for [update] keys.
func NewUpdateKey() (private []byte, public string) {
	_, key, _ := ed25519.GenerateKey(nil)      // never fails: see crypto/rand
	der, _ := x509.MarshalPKCS8PrivateKey(key) // knows this kind of key
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), formatPublicKey(key)
}

func formatPublicKey(key ed25519.PrivateKey) string {
	return publicHead + base64.StdEncoding.EncodeToString(key[ed25519.SeedSize:])
}

// ReadUpdateKey reads a private update key from its PEM file, and returns its public half too.
func ReadUpdateKey(private []byte) (key ed25519.PrivateKey, public string, err error) {
	var parsed any
	if block, _ := pem.Decode(private); block != nil {
		parsed, _ = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, "", errors.New("it is no private key that \"bramble key --update\" made")
	}
	return key, formatPublicKey(key), nil
}

// SignJSON signs a value that names its purpose: the signature in base64 on a line, below it the
// value as JSON.
func SignJSON(key ed25519.PrivateKey, v any) (signed string, err error) {
	text, err := json.MarshalIndent(v, "", " ")
	return base64.StdEncoding.EncodeToString(ed25519.Sign(key, text)) + "\n" + string(text), err
}

// IsSignedBy reports whether the key with this public half has signed what SignJSON returned.
func IsSignedBy(public, signed string) bool {
	signature, text, _ := strings.Cut(signed, "\n")
	raw, badSignature := base64.StdEncoding.DecodeString(signature)
	key, badKey := base64.StdEncoding.DecodeString(strings.TrimPrefix(public, publicHead))
	return errors.Join(badSignature, badKey) == nil && len(key) == ed25519.PublicKeySize && ed25519.Verify(key, []byte(text), raw)
}

// Sign sets Format and Key, and returns the content of slot.sig. private is a PEM file.
func (s *Statement) Sign(private []byte) (signed string, err error) {
	key, public, err := ReadUpdateKey(private)
	if err != nil {
		return "", err
	}
	s.Format, s.Key = statementFormat, public
	return SignJSON(key, s)
}

// ParseStatement reads the content of slot.sig without verifying the signature.
func ParseStatement(signed string) (s Statement, err error) {
	_, text, _ := strings.Cut(signed, "\n")
	if err := json.Unmarshal([]byte(text), &s); err != nil || s.Format != statementFormat {
		return Statement{}, fmt.Errorf("%w: it is not signed", ErrNotAccepted)
	}
	return s, nil
}

// OpenSigned verifies the content of slot.sig, and returns what the other slot must hold.
func (s *Slots) OpenSigned(signed string) (m SlotManifest, err error) {
	st, err := ParseStatement(signed)
	floor, byOwner := s.readReleased(), slices.Contains(s.owners, st.Key)
	switch {
	case err != nil:
		return m, err
	case st.Key == "" || !byOwner && st.Key != ReleaseKey:
		return m, fmt.Errorf("%w: it is signed with %q, which is no key under [update] keys of its bramble.toml", ErrNotAccepted, st.Key)
	case !IsSignedBy(st.Key, signed):
		return m, fmt.Errorf("%w: it was changed after it was signed, or the signature is false", ErrNotAccepted)
	case st.Released.Before(floor) && (!byOwner || st.Replaces.Before(floor)):
		return m, fmt.Errorf("%w: %s is of %s, older than the board's version of %s; only \"bramble update --allow-downgrade\" goes back",
			ErrNotAccepted, st.Version, st.Released.Format(time.DateTime), floor.Format(time.DateTime))
	}
	m = SlotManifest{Version: st.Version, Signature: signed}
	for _, f := range st.Files {
		f.Name = strings.TrimPrefix(f.Name, OtherSlot(s.running)+"/")
		if !strings.Contains(f.Name, "/") {
			m.Files = append(m.Files, f)
		}
	}
	return m, m.Check()
}
