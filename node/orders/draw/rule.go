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

// The number of dice that an offer can ask for. Ten have 60 million results, too many to prepare for by adding entries.
const (
	LeastDice   = 10
	DefaultDice = 20
	MostDice    = 100
)

// ListTime is the time from a close to its round of drand: in it the list is fixed, and anybody can save its hash.
const ListTime = 10 * time.Minute

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
//   - Dice has the digits 1 to 6 that were rolled, at least ten. Draws of version 1 allowed single
//     blanks between them, so that one throw had many spellings: Promise.Accepts does not.
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
	if dice < LeastDice || len(text) > MaxPublic {
		return fmt.Errorf("%w: a draw needs at least %d dice, in at most %d characters", ErrPublic, LeastDice, MaxPublic)
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

// RoundAfter returns the drand round of a ballot that closes at a moment: the first that is made
// ListTime after it, or later.
func RoundAfter(closes time.Time) uint64 {
	ms := closes.Add(ListTime).UnixMilli() - quicknetGenesis*1000
	return uint64(max(0, (ms+quicknetPeriod*1000-1)/(quicknetPeriod*1000))) + 1
}

// RoundTime returns when the beacon makes a round; nobody knows the round before.
func RoundTime(round uint64) time.Time {
	return time.Unix(quicknetGenesis+int64(round-1)*quicknetPeriod, 0).UTC()
}

// Accepts returns an ErrPublic unless the randomness is what was promised, in its one spelling: somebody who could
// choose between two spellings could choose between two results.
func (p Promise) Accepts(u Public) error {
	if u.Kind != p.Kind {
		return fmt.Errorf("%w: %q was promised, and this is %q", ErrPublic, p.Kind, u.Kind)
	}
	if p.Kind == Dice && (len(u.Text) != p.Dice || strings.Trim(u.Text, "123456") != "") {
		return fmt.Errorf("%w: this ballot needs %d dice, one die after another: %d digits from 1 to 6, without blanks; there are %d characters",
			ErrPublic, p.Dice, p.Dice, len(u.Text))
	}
	if err := u.Check(); err != nil || p.Kind != Drand {
		return err
	}
	if round, _, _ := u.parseDrand(); round != p.Round { // Check has found no error
		return fmt.Errorf("%w: this ballot needs round %d, made at %s, and this is round %d",
			ErrPublic, p.Round, formatTime(RoundTime(p.Round)), round)
	}
	return nil
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Fits is what draws of version 1 accepted, for old logs: any spelling and, of drand, any round after the close.
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
	if round, _, _ := p.parseDrand(); !RoundTime(round).After(closed) {
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

// String returns the promise as its hash has it: "commitment", "dice 20" or "drand", the chain and the round.
func (p Promise) String() string {
	switch p.Kind {
	case Dice:
		return fmt.Sprintf("dice %d", p.Dice)
	case Drand:
		return fmt.Sprintf("drand %s %d", QuicknetChain, p.Round)
	}
	return "commitment"
}

// PromiseHash returns the hash in hex of all that is fixed while entries are taken: the SHA-256 of seven lines, see below. Anybody
// can save it before the close. It changes if the shop moves a time, and only then.
func (f *File) PromiseHash() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "bramble draw promise\n%d\n%s\n%s\n%s\n%s\n%s\n",
		f.Version, f.Product, spellTime(f.Opens), spellTime(f.Closes), f.Promised, f.Commitment))
	return hex.EncodeToString(sum[:])
}

// spellTime writes a time as JSON does.
func spellTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// List hashes lines: the hash of the promise, Listed, Boards, the units in the draw, and for each entry, in ascending order, its
// reference, a blank and its quantity. In version 1 the lines were the references.
type List struct {
	sum     hash.Hash
	version int
}

// NewList returns a list of the file without its entries.
func (f *File) NewList() *List {
	l := &List{sha256.New(), f.Version}
	if f.Version > 1 {
		fmt.Fprintf(l.sum, "%s\n%s\n%s\n%d\n", f.PromiseHash(), spellTime(f.Listed), spellTime(f.Boards), f.Stock)
	}
	return l
}

// Fixed returns when the list was fixed, by the later of the two clocks: nobody gains by holding one of them back.
func (f *File) Fixed() time.Time {
	if f.Boards.After(f.Listed) {
		return f.Boards
	}
	return f.Listed
}

// Add adds the next entry.
func (l *List) Add(reference string, quantity int) {
	line := make([]byte, 0, 32)
	line = append(line, reference...)
	if l.version > 1 {
		line = strconv.AppendInt(append(line, ' '), int64(quantity), 10)
	}
	l.sum.Write(append(line, '\n'))
}

// Hash returns the hash of the list in hex.
func (l *List) Hash() string { return hex.EncodeToString(l.sum.Sum(nil)) }

// Seed returns the hex text from which all tickets follow: SHA-256 of the lines "bramble draw " and the
// version, the secret in hex, the list's hash in hex, the public text.
func Seed(version int, secretHex, listHex, public string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "bramble draw %d\n%s\n%s\n%s\n", version, secretHex, listHex, public))
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
