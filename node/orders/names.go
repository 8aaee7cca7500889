package orders

import (
	"fmt"
	"strings"
)

// The words for kinds, states and outcomes in /status.json, exports and logs.

func wordAt(words []string, n int) string {
	if n < len(words) && words[n] != "" {
		return words[n]
	}
	return "unknown"
}

// parseWord returns the value from first to last whose String is word. The error lists the words.
func parseWord[T interface {
	~uint8
	fmt.Stringer
}](word string, first, last T) (T, error) {
	var words []string
	for v := first; v <= last; v++ {
		if v.String() == word {
			return v, nil
		}
		words = append(words, v.String())
	}
	return 0, fmt.Errorf("%q is none of %s", word, strings.Join(words, ", "))
}

// ParseKind returns the kind of orders that a word of String stands for.
func ParseKind(word string) (Kind, error) { return parseWord(word, KindOrder, KindWaiting) }

// ParseOrderState returns the state of an order that a word of String stands for.
func ParseOrderState(word string) (OrderState, error) {
	return parseWord(word, StateOpen, StateUnconfirmed)
}

func (k Kind) String() string {
	return wordAt([]string{1: "order", "entry", "interest", "waiting"}, int(k))
}

func (m Mode) String() string {
	return wordAt([]string{1: "first-come", "ballot", "interest"}, int(m))
}

// ParseMode returns the mode that a word of the catalogue stands for.
func ParseMode(word string) (Mode, error) { return parseWord(word, FirstCome, Interest) }

// ParseSaleState returns the state that a word of /status.json stands for.
func ParseSaleState(word string) (SaleState, error) { return parseWord(word, SaleUnknown, SaleDrawn) }

func (s SaleState) String() string {
	return wordAt([]string{"unknown", "upcoming", "in_stock", "sold_out", "closed", "open", "drawing", "drawn"}, int(s))
}

func (o OrderState) String() string {
	return wordAt([]string{1: "open", "invited", "won", "lost", "fulfilling", "fulfilled",
		"cancelled", "left", "expired", "erased", "returned", "unconfirmed"}, int(o))
}

func (o Outcome) String() string {
	return wordAt([]string{1: "placed", "already_done", "differs", "over_limit", "sold_out", "not_open", "closed",
		"price_changed", "no_such_sale", "wrong_kind", "no_shipping", "id_in_use", "malformed",
		20: "done", "too_late", "no_order", "not_enough", "full", "not_closed", "restoring", "no_webhook"}, int(o))
}

func (j JobKind) String() string {
	return wordAt([]string{1: "webhook", "mail-placed", "mail-invited", "mail-won", "mail-cancelled",
		"mail-sent", "mail-returned", "cancelled", "returned", "mail-link", "mail-exists", "mail-confirm"}, int(j))
}
