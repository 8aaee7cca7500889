package draw

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxPublic bounds the text of public randomness, in bytes.
const MaxPublic = 240

// The drand beacon "quicknet": the Unix time of its round 1, and the interval between rounds
// in seconds.
const (
	quicknetGenesis = 1692803367
	quicknetPeriod  = 3
)

// ErrPublic: the text is not public randomness of its kind.
var ErrPublic = errors.New("this public randomness cannot be used")

// Known reports whether k is one of the kinds.
func (k Kind) Known() bool { return k == None || k == Dice || k == Drand }

// Check returns an ErrPublic with the problem of the text:
//
//   - None has an empty text.
//   - Dice has the digits 1 to 6 that were rolled, in groups with one blank between them, at
//     least ten dice, such as "3 6 1 1 5 2 4 6 6 1" or "36115 24661".
//   - Drand has "drand quicknet ROUND SIGNATURE"; the signature is 96 small hex digits.
//     Genuine checks whether it is the beacon's.
func (p Public) Check() error {
	switch p.Kind {
	case None:
		if p.Text != "" {
			return fmt.Errorf("%w: there is a text but no kind", ErrPublic)
		}
		return nil
	case Dice:
		return checkDice(p.Text)
	case Drand:
		_, _, err := p.parseDrand()
		return err
	}
	return fmt.Errorf("%w: the kinds are dice, drand and none", ErrPublic)
}

// leastDice is the minimum number of dice: they have 6^10 results, some 60 million: too many to
// prepare for by adding entries before the close.
const leastDice = 10

func checkDice(text string) error {
	dice := 0
	for i := range len(text) {
		switch c := text[i]; {
		case c >= '1' && c <= '6':
			dice++
		case c == ' ' && i > 0 && i < len(text)-1 && text[i-1] != ' ':
		default:
			return fmt.Errorf("%w: dice are the digits 1 to 6, with single blanks between", ErrPublic)
		}
	}
	if dice < leastDice || len(text) > MaxPublic {
		return fmt.Errorf("%w: a draw needs at least %d dice, in at most %d characters", ErrPublic, leastDice, MaxPublic)
	}
	return nil
}

// parseDrand returns the round and signature of a drand text.
func (p Public) parseDrand() (round uint64, signature []byte, err error) {
	f := strings.Split(p.Text, " ")
	if len(f) != 4 || f[0] != "drand" || f[1] != "quicknet" {
		return 0, nil, fmt.Errorf("%w: a drand text has the form: drand quicknet ROUND SIGNATURE", ErrPublic)
	}
	round, err = strconv.ParseUint(f[2], 10, 40)
	if err != nil || round == 0 || strconv.FormatUint(round, 10) != f[2] {
		return 0, nil, fmt.Errorf("%w: the round is not a number", ErrPublic)
	}
	signature, err = hex.DecodeString(f[3])
	if err != nil || len(signature) != 48 || strings.ToLower(f[3]) != f[3] {
		return 0, nil, fmt.Errorf("%w: the signature is not 96 small hex digits", ErrPublic)
	}
	return round, signature, nil
}

// Fits returns an ErrPublic if the randomness does not suit a ballot, given the kind that it
// requires and its close: a drand round must have been made after the close.
func (p Public) Fits(required Kind, closed time.Time) error {
	if err := p.Check(); err != nil {
		return err
	}
	if p.Kind != required {
		return fmt.Errorf("%w: this ballot requires %q", ErrPublic, required)
	}
	if p.Kind != Drand {
		return nil
	}
	round, _, _ := p.parseDrand() // Check has found no error
	made := time.Unix(quicknetGenesis+int64(round-1)*quicknetPeriod, 0)
	if !made.After(closed) {
		return fmt.Errorf("%w: round %d was made before the ballot closed", ErrPublic, round)
	}
	return nil
}

// Commitment returns the hex text that is published before a ballot opens: SHA-256 of
// "bramble draw secret\n" and the secret in hex.
func Commitment(secret [32]byte) string {
	return commitmentOf(hex.EncodeToString(secret[:]))
}

func commitmentOf(secretHex string) string {
	sum := sha256.Sum256([]byte("bramble draw secret\n" + secretHex))
	return hex.EncodeToString(sum[:])
}

// List hashes a ballot's references, which are added in ascending order.
type List struct{ sum hash.Hash }

// NewList returns a list without entries.
func NewList() *List { return &List{sum: sha256.New()} }

// Add adds the next reference.
func (l *List) Add(reference string) {
	l.sum.Write([]byte(reference + "\n"))
}

// Seed returns the hex text from which all tickets follow: SHA-256 of the lines
// "bramble draw 1", the secret in hex, the SHA-256 of the list in hex, the public text.
func Seed(secretHex string, l *List, public string) string {
	list := hex.EncodeToString(l.sum.Sum(nil))
	sum := sha256.Sum256([]byte("bramble draw 1\n" + secretHex + "\n" + list + "\n" + public + "\n"))
	return hex.EncodeToString(sum[:])
}

// Ticket returns an entry's ticket: SHA-256 of the seed in hex, a blank, and the reference.
// The lowest ticket is drawn first.
func Ticket(seed, reference string) [32]byte {
	text := make([]byte, 0, 96)
	text = append(text, seed...)
	text = append(text, ' ')
	return sha256.Sum256(append(text, reference...))
}

// Run draws: it returns the winners in the order drawn and the losers in the order of their
// tickets. An entry gets all the units that it requests; one that requests more than remain
// is skipped, and the next one follows. Entries must be in ascending order of their
// references.
func Run(seed string, entries []Entry, stock int64) (winners, losers []string) {
	type lot struct {
		ticket [32]byte
		entry  int
	}
	lots := make([]lot, len(entries))
	for i := range entries {
		lots[i] = lot{Ticket(seed, entries[i].Reference), i}
	}
	slices.SortFunc(lots, func(a, b lot) int { return bytes.Compare(a.ticket[:], b.ticket[:]) })
	winners, losers = []string{}, []string{}
	for _, l := range lots {
		e := &entries[l.entry]
		if int64(e.Quantity) <= stock {
			stock -= int64(e.Quantity)
			winners = append(winners, e.Reference)
		} else {
			losers = append(losers, e.Reference)
		}
	}
	return winners, losers
}
