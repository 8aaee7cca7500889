package console_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	. "bramble/node/console"
	"bramble/node/console/consoletest"
)

// Requests about the card need the right to steer, and reach it without the prefix.
func TestCardRequiresRightToSteer(t *testing.T) {
	card := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Method+" "+r.URL.Path) })
	from := func(address string) func(*http.Request) {
		return func(r *http.Request) { r.RemoteAddr = address }
	}
	c := newConsole(t, Config{Source: consoletest.NewFake(1), Card: card})
	if w := ask(t, c, "PUT", CardPath+"file/vmlinuz", "", nil); w.Code != http.StatusOK || w.Body.String() != "PUT /file/vmlinuz" {
		t.Errorf("this machine gets %d %s", w.Code, w.Body)
	}
	if w := ask(t, c, "GET", CardPath+"slots", "", from("192.0.2.7:50000")); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "set password") {
		t.Errorf("another machine gets %d %s", w.Code, w.Body)
	}
	c = newConsole(t, Config{Source: consoletest.NewFake(1), Card: card, Password: "tell me more"})
	sign := func(r *http.Request) {
		r.RemoteAddr = "192.0.2.7:50000"
		r.SetBasicAuth(UserName, "tell me more")
	}
	if w := ask(t, c, "GET", CardPath+"slots", "", sign); w.Code != http.StatusOK {
		t.Errorf("with the password another machine gets %d %s", w.Code, w.Body)
	}
	if w := ask(t, c, "GET", CardPath+"slots", "", from("192.0.2.7:50000")); w.Code != http.StatusUnauthorized {
		t.Errorf("without it another machine gets %d %s", w.Code, w.Body)
	}
	if w := ask(t, newConsole(t, Config{Source: consoletest.NewFake(1)}), "GET", CardPath+"slots", "", nil); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "does not run from a card") {
		t.Errorf("a board without a card answers %d %s", w.Code, w.Body)
	}
}
