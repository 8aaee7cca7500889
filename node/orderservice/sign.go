package orderservice

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strings"

	"bramble/node/orders"
)

const (
	// signLabel keeps the key of receipts apart from all else that is derived
	// from the rack key.
	signLabel = "bramble receipt address 1"
	// signSize is how many bytes of the MAC an address has: 128 bits, which
	// nobody guesses.
	signSize = 16
)

// signer makes the part of a receipt's address that cannot be guessed.
type signer struct{ key []byte }

func newSigner(rackKey []byte) signer {
	key, err := hkdf.Key(sha256.New, rackKey, nil, signLabel, sha256.Size)
	if err != nil {
		panic(err) // only for a key longer than 255 hashes, and it is one
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

// Sign is the token in the address of a paper's receipt.
func (d *Service) Sign(id orders.ID) string { return d.sign[0].signID(id) }

// Verify reports whether a token is the one of a paper. It takes as long for a
// wrong one as for the right one.
func (d *Service) Verify(id orders.ID, token string) bool {
	for _, s := range d.sign {
		if hmac.Equal([]byte(s.signID(id)), []byte(token)) {
			return true
		}
	}
	return false
}
