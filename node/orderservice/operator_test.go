package orderservice

import (
	"strings"
	"testing"
	"unicode/utf8"

	"bramble/node/orders"
)

// The audit trail begins with the account; what the client says is a note that cannot replace it.
func TestAuditHasTheAccount(t *testing.T) {
	ctx := WithOperator(t.Context(), "ann")
	for note, want := range map[string]string{"": "ann", "ann": "ann", "bob": `ann ("bob")`, "x): announce: y": `ann ("x): announce: y")`, `"x"): y`: `ann ("\"x\"): y")`} {
		if got := nameOperator(ctx, note); got != want {
			t.Errorf("%q gives %q, want %q", note, got, want)
		}
	}
	for _, long := range []string{"é", `"`, "\xff", "\n"} {
		if got := nameOperator(ctx, strings.Repeat(long, 100)); len(got) > orders.MaxOperator || !utf8.ValidString(got) || !strings.HasSuffix(got, `")`) {
			t.Errorf("a long note gives %q", got)
		}
	}
	if got := nameOperator(t.Context(), "catalogue"); got != "catalogue" {
		t.Errorf("the program's own command is by %q", got)
	}
}
