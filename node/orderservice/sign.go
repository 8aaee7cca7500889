package orderservice

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"slices"
	"strings"

	"bramble/node/orders"
)

const (
	// signLabel separates the key of receipts from the other keys that are derived from
	// the rack key.
	signLabel = "bramble receipt address 1"
	// signSize is the length of a receipt's MAC in bytes: 128 bits cannot be guessed.
	signSize = 16
)

// signer makes the part of a receipt's address that cannot be guessed.
type signer struct{ key []byte }

func newSigner(rackKey []byte) signer {
	key, err := hkdf.Key(sha256.New, rackKey, nil, signLabel, sha256.Size)
	if err != nil {
		panic(err) // only for a key longer than 255 hashes; this one is one hash long
	}
	return signer{key}
}

func (s signer) signID(id orders.ID) string {
	mac := hmac.New(sha256.New, s.key)
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(id))
	mac.Write(b[:])
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(mac.Sum(nil)[:signSize])
	return strings.ToLower(text)
}

// Sign returns the token in the address of an order's receipt.
func (s *Service) Sign(id orders.ID) string { return s.signers[0].signID(id) }

// Verify reports whether a token is the one of an order, in constant time.
func (s *Service) Verify(id orders.ID, token string) bool {
	all := slices.Clone(s.signers)
	for _, key := range s.cfg.Book.ReceiptKeys() { // of racks whose backups were restored here
		all = append(all, signer{key})
	}
	return slices.ContainsFunc(all, func(by signer) bool { return hmac.Equal([]byte(by.signID(id)), []byte(token)) })
}
