package orders

// The words of status.json, of exports and of logs. They do not change.

func word(words []string, n int) string {
	if n < len(words) && words[n] != "" {
		return words[n]
	}
	return "unknown"
}

// String is the kind's word.
func (k Kind) String() string {
	return word([]string{1: "order", "entry", "interest", "waiting"}, int(k))
}

// String is the mode's word, as in the catalogue.
func (m Mode) String() string {
	return word([]string{1: "first-come", "ballot", "interest"}, int(m))
}

// String is the state's word, as in /status.json.
func (s SaleState) String() string {
	return word([]string{1: "upcoming", "in_stock", "sold_out", "closed", "open", "drawing", "drawn"}, int(s))
}

// String is the state's word.
func (s PaperState) String() string {
	return word([]string{1: "open", "invited", "won", "lost", "handing_over", "handed_over",
		"cancelled", "left", "expired", "forgotten"}, int(s))
}

// String is the outcome's word.
func (o Outcome) String() string {
	return word([]string{1: "taken", "same", "differs", "over_limit", "sold_out", "not_open", "closed",
		"price_changed", "no_such_sale", "wrong_kind", "no_shipping", "retry", "malformed",
		20: "done", "too_late", "no_paper", "not_enough", "full"}, int(o))
}

// String is the job's word.
func (w What) String() string {
	return word([]string{1: "webhook", "mail-taken", "mail-invited", "mail-won", "mail-cancelled"}, int(w))
}
