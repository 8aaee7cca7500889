//go:build linux

package images

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// long skips a test that takes minutes unless it is asked for.
func long(t *testing.T) {
	t.Helper()
	if !*boards {
		t.Skip("several emulated boards take minutes: go test ./images -boards")
	}
}

// serials of the rack's boards; each has its address under [cards].
func serials() []string { return []string{"00000000cafe0001", "00000000cafe0002", "00000000cafe0003"} }

// rackOf switches on boards that all have the same card, as it is written from
// one image, and waits until they are one rack that takes orders.
func rackOf(t *testing.T, image string, size int) (rack []*emulated, shops, consoles []string) {
	t.Helper()
	ports := lanUp(t, size)
	var cards []string
	for i, serial := range serials()[:size] {
		cards = append(cards, fmt.Sprintf("[cards.%s.network]\naddress = \"10.77.0.%d/24\"", serial[12:], i+1))
		shops = append(shops, fmt.Sprintf("http://10.77.0.%d", i+1))
		consoles = append(consoles, fmt.Sprintf("http://10.77.0.%d:8080", i+1))
	}
	for i, serial := range serials()[:size] {
		b := newBoard(t, image, serial, ports[i]...)
		b.settle(fmt.Sprintf("expected_boards = %d", size), fmt.Sprintf("ntp = [%q]", lanAddress), cards...)
		b.start()
		rack = append(rack, b)
	}
	for i, b := range rack {
		b.waitSaid(bootLimit, fmt.Sprintf(`bramble: network eth0 10\.77\.0\.%d/24`, i+1))
		b.waitSaid(bootLimit, `bramble: clock set by `+lanAddress)
	}
	whole(t, rack, shops, consoles)
	return rack, shops, consoles
}

// whole waits until each board sees all of them in service and takes orders.
func whole(t *testing.T, rack []*emulated, shops, consoles []string) {
	t.Helper()
	quiet := standstill{rack: rack, next: time.Now().Add(deafAfter)}
	for i, b := range rack {
		until(t, 2*bootLimit, b.name+" to see the whole rack", func() error {
			quiet.look()
			s, err := snapshot(t.Context(), consoles[i])
			if err != nil {
				return fmt.Errorf("%w; the last of the serial line:\n%s", err, last(b.said(), 1500))
			}
			for _, one := range s.Boards {
				if one.State != "serving" {
					return fmt.Errorf("%s is %s", one.Name, one.State)
				}
			}
			if len(s.Boards) != len(rack) {
				return fmt.Errorf("%d boards", len(s.Boards))
			}
			return nil
		})
		until(t, bootLimit, b.name+" to take orders", func() error {
			_, page, err := get(t.Context(), shops[i]+"/p/berry/order")
			if err == nil && !strings.Contains(page, `name="kind"`) {
				err = errors.New(last(page, 1500))
			}
			return err
		})
	}
}

// Boards with the same card form a rack, keep an order on all of them, and lose
// none when the power fails while orders come in.
func TestARackOfCardsLosesNoOrderWhenThePowerFails(t *testing.T) {
	long(t)
	image, inside := alone(t, 30*time.Minute)
	if !inside {
		return
	}
	rack, shops, consoles := rackOf(t, image, 2)
	// Once in many runs the emulated network stands still for seconds.
	asked := 0
	buy := func(shop string) (buyer, receipt string) {
		until(t, bootLimit, "an order", func() (err error) {
			asked++
			buyer = fmt.Sprintf("alone-%d", asked)
			receipt, err = order(t.Context(), shop, buyer)
			return err
		})
		return buyer, receipt
	}
	first, receipt := buy(shops[0])
	rack[1].waitPage(shops[1]+receipt, first)

	before := make([]int64, len(rack))
	for i, b := range rack {
		before[i], _ = b.written()
	}
	const counted = 10
	from := asked
	for i := range counted {
		buy(shops[i%2])
	}
	if again := asked - from - counted; again > 0 {
		t.Logf("%d of the counted orders were asked for again", again)
	}
	for i, b := range rack {
		after, _ := b.written()
		t.Logf("%s: %d bytes written to the card for %d orders, one after the other", b.name, after-before[i], counted)
		if each := (after - before[i]) / counted; each > orderBytes {
			t.Errorf("%s wrote %d bytes for an order; at most %d", b.name, each, orderBytes)
		}
	}

	// Buyers on both boards, until the power is cut under them.
	acknowledged := map[string]string{first: receipt}
	var mu sync.Mutex
	var buyers sync.WaitGroup
	stop := make(chan struct{})
	for i := range 2 {
		buyers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("buyer-%d-%d", i, n)
				if at, err := order(t.Context(), shops[i], name); err == nil {
					mu.Lock()
					acknowledged[name] = at
					mu.Unlock()
				}
			}
		})
	}
	until(t, bootLimit, "twenty orders", func() error {
		mu.Lock()
		defer mu.Unlock()
		if len(acknowledged) < 20 {
			return fmt.Errorf("%d so far", len(acknowledged))
		}
		return nil
	})
	for _, b := range rack {
		b.cutPower()
	}
	close(stop)
	buyers.Wait()
	for _, b := range rack {
		replayed(t, b.card)
		b.start()
	}
	for _, b := range rack {
		b.waitSaid(bootLimit, `bramble: data partition (clean|repaired)`)
	}
	whole(t, rack, shops, consoles)
	for name, at := range acknowledged {
		for i := range rack {
			rack[i].waitPage(shops[i]+at, name)
		}
	}
	t.Logf("%d orders were acknowledged before the power cut, and all are there", len(acknowledged))
}

// standstill is what the emulator's network card does once in many boots: from
// some moment on nothing passes it, in either direction, for good, while all else
// on the board goes on. No board can do anything about that but be switched off
// and on, and each board is, once, if its own shell says that it reaches nobody.
type standstill struct {
	rack  []*emulated
	next  time.Time // to look
	cured []*emulated
}

const (
	// deafAfter is how long a rack may take to be whole before its boards are asked.
	deafAfter = 90 * time.Second
	// deafAgain is when they are asked again.
	deafAgain = 30 * time.Second
)

func (s *standstill) look() {
	if time.Now().Before(s.next) {
		return
	}
	s.next = time.Now().Add(deafAgain)
	for _, b := range s.rack {
		if slices.Contains(s.cured, b) || b.gone() || !b.deaf() {
			continue
		}
		s.cured = append(s.cured, b)
		b.t.Logf("%s: the emulator's network card stands still; the board is switched off and on. It said\n%s", b.name, last(b.said(), 4000))
		b.cutPower()
		b.start()
		s.next = time.Now().Add(deafAfter)
	}
}

// deaf reports whether a board that has its address reaches nobody: ten seconds of
// asking this machine for a sign of life are not answered, twice.
func (b *emulated) deaf() bool {
	b.t.Helper()
	if !strings.Contains(b.said(), "Please press Enter") || !strings.Contains(b.said(), "bramble: network eth0") {
		return false // it is not that far
	}
	const ask = "ping -q -c 10 -w 10 " + lanAddress + " | grep received"
	for range 2 {
		if !strings.Contains(b.shell(ask), " 0 packets received") {
			return false
		}
	}
	return true
}

// orderBytes is what a board may write to its card for an order that comes alone:
// it writes 16 kB, and 24 kB if the kernel writes working copy and journal meanwhile
// (DESIGN.md).
const orderBytes = 40_000

// replayed checks a data partition as it was when the power failed: with its
// journal played back, as the board's kernel does, nothing is wrong with it.
func replayed(t *testing.T, card string) {
	t.Helper()
	file := partition(t, card, 2)
	if out, err := exec.Command("/usr/sbin/e2fsck", "-p", file).CombinedOutput(); err != nil {
		t.Errorf("after the power cut: %v\n%s", err, out)
	}
	if out, err := exec.Command("/usr/sbin/e2fsck", "-fn", file).CombinedOutput(); err != nil {
		t.Errorf("after the power cut, with the journal played back: %v\n%s", err, out)
	}
}

// A board whose data partition is destroyed makes it anew, says so, and has the
// orders again from the others.
func TestADestroyedDataPartitionIsFilledFromTheRack(t *testing.T) {
	long(t)
	image, inside := alone(t, 30*time.Minute)
	if !inside {
		return
	}
	rack, shops, consoles := rackOf(t, image, 3)
	receipt, err := order(t.Context(), shops[0], "kept")
	if err != nil {
		t.Fatal(err)
	}
	lost := rack[2]
	lost.waitPage(shops[2]+receipt, "kept")
	lost.cutPower()
	wipe(t, lost.card)
	lost.start()
	why := lost.waitSaid(bootLimit, `bramble: data partition recreated \((.*)\)`)
	t.Logf("made anew: %s", why)
	whole(t, rack, shops, consoles)
	lost.waitPage(shops[2]+receipt, "kept")
	lost.cutPower()
	replayed(t, lost.card)
}

// wipe overwrites the data partition's beginning and some of its middle, as a
// failing card does.
func wipe(t *testing.T, card string) {
	t.Helper()
	f, err := os.OpenFile(card, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	junk := slices.Repeat([]byte("junk"), 1<<20)
	_, err = f.WriteAt(junk, Options{}.cardLayout().dataStart())
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// A mistake in the settings is told at the board's address, with its line, and
// the corrected file goes on.
func TestAMistakeInTheSettingsIsToldAtTheBoardsAddress(t *testing.T) {
	long(t)
	image, inside := alone(t, 15*time.Minute)
	if !inside {
		return
	}
	port := lanUp(t, 1)[0]
	b := newBoard(t, image, serials()[0], port...)
	const network = "ntp = [\"" + lanAddress + "\"]"
	card := "[cards.0001.network]\naddress = \"10.77.0.1/24\""
	b.settle("expected_boards = 1", network, "[panel]\nhealht_pin = \"GPIO27\"", card)
	lines := strings.Split(b.read("bramble.toml"), "\n")
	at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "healht_pin") }) + 1
	b.start()
	const shop = "http://10.77.0.1"
	until(t, bootLimit, "the page of the mistake", func() error {
		status, page, err := get(t.Context(), shop+"/")
		if err != nil {
			return fmt.Errorf("%w; the last of the serial line:\n%s", err, last(b.said(), 1500))
		}
		for _, part := range []string{"bramble.toml", fmt.Sprintf("<strong>Line %d</strong>", at), "healht_pin", "health_pin"} {
			if !strings.Contains(page, part) {
				return fmt.Errorf("status %d, and no %q in %s", status, part, last(page, 1500))
			}
		}
		if status == http.StatusOK {
			return errors.New("the page has status 200: a monitor would take it for the shop")
		}
		return nil
	})
	b.blinks(t)
	b.cutPower()
	b.settle("expected_boards = 1", network, card)
	b.start()
	b.waitPage(shop+"/p/berry", "A berry.")
}

// blinks checks that the green LED tells of a fault, and does not just stand.
func (b *emulated) blinks(t *testing.T) {
	t.Helper()
	until(t, time.Minute, "the green LED to blink", func() error {
		seen := map[uint32]int{}
		for _, s := range b.watch(leastWatch) {
			seen[s.levels>>actPin&1]++
		}
		if len(seen) != 2 {
			return fmt.Errorf("its levels were %v", seen)
		}
		return nil
	})
}

// A board whose data partition is full says so and serves pages; when there is
// room again it takes orders without a restart, and a start on a full card is one.
func TestAFullDataPartitionIsToldAndPagesAreServed(t *testing.T) {
	long(t)
	image, inside := alone(t, 25*time.Minute)
	if !inside {
		return
	}
	port := lanUp(t, 1)[0]
	b := newBoard(t, image, serials()[0], port...)
	b.settle("expected_boards = 1", "ntp = [\""+lanAddress+"\"]", "[cards.0001.network]\naddress = \"10.77.0.1/24\"")
	b.start()
	const shop, ops = "http://10.77.0.1", "http://10.77.0.1:8080"
	whole(t, []*emulated{b}, []string{shop}, []string{ops})
	const fill = "dd if=/dev/zero of=/data/filler bs=64k 2>/dev/null; sync; df /data"
	b.shell(fill)
	var kept []string // receipts of orders that were taken
	buy := func() error {
		receipt, err := order(t.Context(), shop, fmt.Sprintf("late-%d", time.Now().UnixNano()))
		if err == nil {
			kept = append(kept, receipt)
		}
		return err
	}
	// Orders go on until the log needs another block.
	until(t, 5*time.Minute, "the board to say that its card is full", func() error {
		_ = buy() // refused sooner or later
		said, err := complaints(t, ops)
		if err != nil {
			return err
		}
		if !strings.Contains(said, noRoom) {
			return fmt.Errorf("it says %q", said)
		}
		t.Logf("after %d orders it says: %s", len(kept), said)
		return nil
	})
	b.waitPage(shop+"/p/berry", "A berry.")
	b.waitPage(ops+"/healthz", "")

	b.shell("rm /data/filler; sync")
	until(t, 3*time.Minute, "orders to be taken again", buy)
	until(t, time.Minute, "the board to be content", func() error {
		said, err := complaints(t, ops)
		if err == nil && strings.Contains(said, noRoom) {
			err = fmt.Errorf("it says %q", said)
		}
		return err
	})
	if ends := strings.Count(b.said(), "bramble: board program ended"); ends > 0 {
		t.Errorf("the board's program ended %d times", ends)
	}

	b.shell(fill)
	b.cutPower()
	b.start()
	b.waitPage(shop+"/p/berry", "A berry.")
	b.shell("rm -f /data/filler; sync")
	for _, receipt := range kept {
		b.waitPage(shop+receipt, "late-")
	}
	until(t, 3*time.Minute, "orders to be taken after a start on a full card", buy)
}

// noRoom is how a full card shows in what a board says.
const noRoom = "no space left"

// complaints is all that a board's console says is wrong.
func complaints(t *testing.T, ops string) (string, error) {
	s, err := snapshot(t.Context(), ops)
	if err != nil {
		return "", err
	}
	said := strings.Join(s.Notices, " ")
	for _, one := range s.Boards {
		said += " " + strings.Join(one.Faults, " ")
	}
	return said, nil
}

// What an idle board writes to its card in a while is bounded.
func TestAnIdleBoardHardlyWrites(t *testing.T) {
	long(t)
	image, inside := alone(t, 40*time.Minute)
	if !inside {
		return
	}
	port := lanUp(t, 1)[0]
	b := newBoard(t, image, serials()[0], port...)
	b.settle("expected_boards = 1", "ntp = [\""+lanAddress+"\"]", "[cards.0001.network]\naddress = \"10.77.0.1/24\"")
	b.start()
	whole(t, []*emulated{b}, []string{"http://10.77.0.1"}, []string{"http://10.77.0.1:8080"})
	b.waitUp(idleFrom)
	before, from := b.written()
	b.waitUp(idleFrom + idleWatch)
	after, to := b.written()
	t.Logf("%d bytes written up to second %.0f, and %d in the %.0f s that followed", before, from, after-before, to-from)
	if after-before > idleBytes {
		t.Errorf("an idle board wrote %d bytes in %.0f s; at most %d", after-before, to-from, idleBytes)
	}
	b.memory(t)
}

// waitUp waits until a board is up for so long by its own clock, which a busy
// machine slows down.
func (b *emulated) waitUp(want time.Duration) {
	b.t.Helper()
	until(b.t, 25*time.Minute, fmt.Sprintf("%s to be up for %v", b.name, want), func() error {
		if _, at := b.written(); at < want.Seconds() {
			time.Sleep(5 * time.Second)
			return fmt.Errorf("it is up for %.0f s", at)
		}
		return nil
	})
}

// What belongs to the start is written by idleFrom: a start's files, and once
// the file system's own records of them a minute later. From then on an idle
// board may write idleBytes in idleWatch: two of the latter.
const (
	idleFrom  = 100 * time.Second
	idleWatch = 5 * time.Minute
	idleBytes = 64_000
)
