package draw

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/cloudflare/circl/sign/bls"
)

// quicknetKey is the public key of the drand beacon "quicknet", a point of G2; its
// signatures are points of G1 (scheme bls-unchained-g1-rfc9380).
const quicknetKey = "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c" +
	"8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb" +
	"5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a"

// QuicknetChain is the hash by which drand names the chain of "quicknet".
const QuicknetChain = "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971"

// Genuine returns an ErrPublic if a drand text is not the beacon's own: its signature
// must be the beacon's for the number of the round. Other kinds are left for people to compare. It
// executes some 200 million ARM instructions, half a second of an original board. The order
// book must not stop for that, so the board that submits the command calls it, and Verify.
func (p Public) Genuine() error {
	if p.Kind != Drand {
		return nil
	}
	round, signature, err := p.parseDrand()
	if err != nil {
		return err
	}
	var key bls.PublicKey[bls.KeyG2SigG1]
	point, err := hex.DecodeString(quicknetKey)
	if err == nil {
		err = key.UnmarshalBinary(point)
	}
	if err != nil {
		return fmt.Errorf("draw: the beacon's key: %w", err)
	}
	message := sha256.Sum256(binary.BigEndian.AppendUint64(nil, round))
	if !bls.Verify(&key, message[:], signature) {
		return fmt.Errorf("%w: the signature is not the beacon's for round %d", ErrPublic, round)
	}
	return nil
}
