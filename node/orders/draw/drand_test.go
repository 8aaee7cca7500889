package draw

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/cloudflare/circl/ecc/bls12381"
)

// round1000 is what the beacon published for its round 1,000, on 23 August 2023.
const round1000 = "drand quicknet 1000 b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39"

func TestGenuine(t *testing.T) {
	for name, tt := range map[string]struct {
		public Public
		want   error
	}{
		"the beacon's":             {Public{Drand, round1000}, nil},
		"of another round":         {Public{Drand, strings.Replace(round1000, "1000", "1001", 1)}, ErrPublic},
		"changed in one bit":       {Public{Drand, strings.Replace(round1000, "5e39", "5e38", 1)}, ErrPublic},
		"no point of the curve":    {Public{Drand, "drand quicknet 1000 " + strings.Repeat("00", 48)}, ErrPublic},
		"not written as it should": {Public{Drand, "drand quicknet 1000"}, ErrPublic},
		"dice":                     {Public{Dice, "3 6 1 1 5 2 4 6 6 1"}, nil},
	} {
		if err := tt.public.Genuine(); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// The beacon's signature has one text: whoever could write it in another way could choose another seed.
func TestASignatureHasOneSpelling(t *testing.T) {
	p, text := new(big.Int), strings.Fields(round1000)[3]
	p.SetString("1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab", 16)
	point, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	var g bls12381.G1
	if err := g.SetBytes(point); err != nil {
		t.Fatal(err)
	}
	with := func(change func(b []byte)) string {
		b := bytes.Clone(point)
		change(b)
		return hex.EncodeToString(b)
	}
	x := new(big.Int).SetBytes(point)
	x.SetBit(x.SetBit(x.SetBit(x, 383, 0), 382, 0), 381, 0)
	beyond := make([]byte, 48)
	x.Add(x, p).FillBytes(beyond)
	spellings := map[string]string{
		"capitals": strings.ToUpper(text), "one capital": strings.Replace(text, "b", "B", 1), "uncompressed": hex.EncodeToString(g.Bytes()),
		"without the bit of compression": with(func(b []byte) { b[0] &^= 0x80 }), "the other root": with(func(b []byte) { b[0] ^= 0x20 }),
		"infinity": with(func(b []byte) { b[0] |= 0x40 }), "x beyond the field": hex.EncodeToString(append([]byte{beyond[0] | point[0]&0xe0}, beyond[1:]...)),
		"a byte more": text + "00", "0x": "0x" + text[2:], "a blank more": " " + text, "a line more": text + "\n",
	}
	promise := Promise{Kind: Drand, Round: 1000}
	for name, spelling := range spellings {
		for _, round := range []string{"1000", "01000", "+1000", "1000.", "1e3", "1_000", "0x3e8"} {
			u := Public{Drand, "drand quicknet " + round + " " + spelling}
			if promise.Accepts(u) == nil && u.Genuine() == nil {
				t.Errorf("%s, round %s: accepted", name, round)
			}
			if u.Text = "drand quicknet " + round + " " + text; round != "1000" && promise.Accepts(u) == nil {
				t.Errorf("round %s: accepted", round)
			}
		}
	}
	if u := (Public{Drand, round1000}); promise.Accepts(u) != nil || u.Genuine() != nil {
		t.Error("the beacon's own text is refused")
	}
}
