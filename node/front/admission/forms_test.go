package admission

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// formBoards are the boards of a rack: the first one counts.
type formBoards struct {
	now    time.Time
	boards []*FormLimits
}

func newFormBoards(boards int, rates FormRates) *formBoards {
	f := &formBoards{now: time.Unix(1000, 0)}
	rates.Now = func() time.Time { return f.now }
	for range boards {
		f.boards = append(f.boards, NewFormLimits(rates))
	}
	return f
}

// send sends a form to a board, which asks the owner.
func (f *formBoards) send(board int, from string) bool {
	address, at := netip.MustParseAddr(from), f.boards[board]
	return at.Unasked.AllowForm(address) || at.Counted[FormSent].AllowForm(address) && (board == 0 || f.boards[0].Counted[FormSent].AllowForm(address))
}

// One address that uses all five boards gets no more than one that uses one.
func TestAScriptGetsOneLimitFromFiveBoards(t *testing.T) {
	f := newFormBoards(5, FormRates{Client: 300, Network: 600})
	got := 0
	for step := range 34 { // 3.4 seconds, in which a script once took 499 of 500 units
		for i := range 500 {
			if f.send(i%5, "192.0.2.1") {
				got++
			}
		}
		f.now = f.now.Add(100 * time.Millisecond)
		if most := 100 + 5*UnaskedForms + (step+1)/2; got > most {
			t.Fatalf("%d forms after %d tenths of a second, want at most %d", got, step, most)
		}
	}
	t.Logf("%d of 500 units", got)
}

// A school of 1,000 behind one address, whose proxy has all go to one board, and who press again when the page
// says so, has ordered after three and a half minutes: on the board that counts, and on another one.
func TestASchoolOrdersFromOneAddress(t *testing.T) {
	for board := range 2 {
		f := newFormBoards(5, FormRates{Client: 300, Network: 600})
		left, began := 1000, f.now
		for left > 0 {
			for range left {
				if f.send(board, "192.0.2.1") {
					left--
				} else if !f.boards[board].Pages.AllowForm(netip.MustParseAddr("192.0.2.1")) {
					t.Fatal("a pupil gets no page with what was typed")
				}
			}
			f.now = f.now.Add(FormRetry)
		}
		if took := f.now.Sub(began); took > 210*time.Second {
			t.Errorf("board %d: 1,000 orders take %v", board, took)
		}
	}
}

func TestNetworksOfForms(t *testing.T) {
	for _, c := range []struct {
		name    string
		address func(i int) string
		want    int // of 1,000 forms at once
	}{
		{"one address", func(int) string { return "192.0.2.1" }, 100},
		{"one address, mapped into IPv6", func(i int) string { return []string{"192.0.2.1", "::ffff:192.0.2.1"}[i%2] }, 100},
		{"a /24", func(i int) string { return fmt.Sprintf("192.0.2.%d", i%250) }, 200},
		{"a /64", func(i int) string { return fmt.Sprintf("2001:db8:1:1::%x", i) }, 100},
		{"a /48", func(i int) string { return fmt.Sprintf("2001:db8:1:%x::1", i) }, 200},
		{"many networks", func(i int) string { return fmt.Sprintf("10.%d.%d.1", i/250, i%250) }, 1000},
	} {
		f, got := newFormBoards(1, FormRates{Client: 300, Network: 600}), 0
		for i := range 1000 {
			if f.send(0, c.address(i)) {
				got++
			}
		}
		if got < c.want || got > c.want+UnaskedForms {
			t.Errorf("%s: %d of 1,000 forms, want %d", c.name, got, c.want)
		}
	}
	off, client := newFormBoards(1, FormRates{}), newFormBoards(1, FormRates{Network: 60})
	for i := range 1000 {
		if !off.send(0, "192.0.2.1") {
			t.Fatal("without a limit a form is refused")
		}
		if i < 20 && !client.send(0, "192.0.2.1") {
			t.Fatal("a limit for networks alone refuses less than its burst")
		}
	}
}

// With confirmation by mail a hundred forms are accepted at once, and then one a second: 1,000 pupils have sent theirs after 16 minutes, or
// after less than four at five times the rate, as node/shop/README.md says.
func TestASchoolWaitsForMails(t *testing.T) {
	for rate, most := range map[int]time.Duration{300: 16 * time.Minute, 1500: 4 * time.Minute} {
		f := newFormBoards(1, FormRates{Client: rate, Network: 2 * rate})
		left, began := 1000, f.now
		for left > 0 {
			for range left {
				if f.boards[0].Counted[FormMailed].AllowForm(netip.MustParseAddr("192.0.2.1")) {
					left--
				}
			}
			f.now = f.now.Add(FormRetry)
		}
		if took := f.now.Sub(began); took > most {
			t.Errorf("rate %d: 1,000 forms take %v", rate, took)
		}
	}
}

// Forms count for each street and person: six an hour from an address and 18 from a network, and a school's pupils have many.
func TestFormsAboutASubject(t *testing.T) {
	f := newFormBoards(1, FormRates{Client: 300, Network: 600})
	about := f.boards[0].Counted[FormAbout]
	got := 0
	for hour := range 24 {
		for range 100 {
			if about.AllowForm(netip.MustParseAddr("192.0.2.1"), "street") {
				got++
			}
		}
		f.now = f.now.Add(time.Hour)
		if hour == 0 && got != AboutForms {
			t.Errorf("%d forms at once", got)
		}
	}
	if got != 24*AboutForms { // 144 of 150 houses in 24 hours
		t.Errorf("%d forms in a day", got)
	}
	for i := range 1000 {
		if !about.AllowForm(netip.MustParseAddr("192.0.2.2"), fmt.Sprint("street ", i), fmt.Sprint("email ", i)) {
			t.Errorf("pupil %d is refused", i)
		}
	}
	f.now = f.now.Add(time.Hour)
	got = 0
	for i := range 200 {
		if about.AllowForm(netip.MustParseAddr(fmt.Sprint("192.0.2.", i)), "one street", fmt.Sprint("email ", i)) {
			got++
		}
	}
	if got != networkShare*AboutForms {
		t.Errorf("%d forms from a network", got)
	}
}
