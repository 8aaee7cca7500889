package shop

import (
	"strings"
	"testing"
	"time"

	"bramble/node/orders"
)

// The receipt of every unconfirmed form with an address that is not the plain one names that, because its mail may be kept back by others. It does not
// depend on what was sent.
func TestAnUnusualSpellingNamesThePlainOne(t *testing.T) {
	for email, want := range map[string]string{
		"vera@corp.example": "", "vera+a@corp.example": "vera@corp.example", "Vera@corp.example": "vera@corp.example", "jo.e@gmail.com": "joe@gmail.com", "joe@googlemail.com": "joe@gmail.com",
	} {
		order := orders.Order{State: orders.StateUnconfirmed, Person: orders.Person{Email: email}, Until: time.Unix(1e9, 0)}
		_, lines := describeOrder(&receiptData{Order: order}, time.Unix(0, 0))
		text := strings.Join(lines, "\n")
		if (want != "") != strings.Contains(text, "All spellings") || !strings.Contains(text, want) || !strings.Contains(text, "If one came in the last hour, it is still good") {
			t.Errorf("%s: %s", email, text)
		}
	}
}
