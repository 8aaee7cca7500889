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

// skipUnlessBoards skips a test that takes minutes unless -boards is given.
func skipUnlessBoards(t *testing.T) {
	t.Helper()
	if !*boards {
		t.Skip("several emulated boards take minutes: go test ./images -boards")
	}
}

// serials of the rack's boards; each has its address under [cards].
func serials() []string { return []string{"00000000cafe0001", "00000000cafe0002", "00000000cafe0003"} }

// rackOf switches on boards with the same card, and waits until they are one rack that
// takes orders.
func rackOf(t *testing.T, image string, size int) (rack []*emulatedBoard, shops, consoles []string) {
	t.Helper()
	ports := lanUp(t, size)
	var cards []string
	for i, serial := range serials()[:size] {
		cards = append(cards, fmt.Sprintf("[cards.%s.network]\naddress = \"10.77.0.%d/24\"", serial[12:], i+1))
		shops = append(shops, fmt.Sprintf("http://10.77.0.%d", i+1))
		consoles = append(consoles, fmt.Sprintf("https://10.77.0.%d:8080", i+1))
	}
	for i, serial := range serials()[:size] {
		b := newBoard(t, image, serial, ports[i]...)
		b.writeSettings(fmt.Sprintf("expected_boards = %d", size), fmt.Sprintf("ntp = [%q]", lanAddress), cards...)
		b.start()
		rack = append(rack, b)
	}
	for i, b := range rack {
		b.waitSerial(bootLimit, fmt.Sprintf(`bramble: network eth0 10\.77\.0\.%d/24`, i+1))
		b.waitSerial(bootLimit, `bramble: clock set by `+lanAddress)
	}
	waitWholeRack(t, rack, shops, consoles)
	return rack, shops, consoles
}

// waitWholeRack waits until each board sees all of them in service and takes orders.
func waitWholeRack(t *testing.T, rack []*emulatedBoard, shops, consoles []string) {
	t.Helper()
	quiet := networkStandstill{rack: rack, next: time.Now().Add(deafAfter)}
	for i, b := range rack {
		waitUntil(t, 2*bootLimit, b.name+" to see the whole rack", func() error {
			quiet.check()
			s, err := consoleSnapshot(t.Context(), consoles[i])
			if err != nil {
				return fmt.Errorf("%w; the last of the serial line:\n%s", err, lastBytes(b.serialText(), 1500))
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
		waitUntil(t, bootLimit, b.name+" to take orders", func() error {
			_, page, err := getPage(t.Context(), shops[i]+"/p/berry/order")
			if err == nil && !strings.Contains(page, `name="kind"`) {
				err = errors.New(lastBytes(page, 1500))
			}
			return err
		})
	}
}

// Boards with the same card form a rack, store an order on all of them, and lose none when
// the power fails while orders come in.
func TestARackOfCardsLosesNoOrderWhenThePowerFails(t *testing.T) {
	skipUnlessBoards(t)
	image, inside := inNamespace(t, 30*time.Minute)
	if !inside {
		return
	}
	rack, shops, consoles := rackOf(t, image, 2)
	// Once in many runs the emulated network stands still: for seconds, so that an order
	// is retried, or for good, so that a board is switched off and on.
	asked, restarts := 0, 0
	buy := func(shop string) (buyer, receipt string) {
		standstill := networkStandstill{rack: rack, next: time.Now().Add(deafAfter)}
		waitUntil(t, 2*bootLimit, "an order", func() (err error) {
			standstill.check()
			asked++
			buyer = fmt.Sprintf("alone-%d", asked)
			receipt, err = placeOrder(t.Context(), shop, buyer)
			return err
		})
		restarts += len(standstill.cured)
		return buyer, receipt
	}
	first, receipt := buy(shops[0])
	rack[1].waitPage(shops[1]+receipt, first)

	const counted = 10
	before := make([]int64, len(rack))
	from := asked
	for restarted := true; restarted; { // a board's count begins again with its power
		for i, b := range rack {
			before[i], _ = b.bytesWritten()
		}
		from = asked
		restartsBefore := restarts
		for i := range counted {
			buy(shops[i%2])
		}
		restarted = restarts > restartsBefore
	}
	if again := asked - from - counted; again > 0 {
		t.Logf("%d of the counted orders were retried", again)
	}
	for i, b := range rack {
		after, _ := b.bytesWritten()
		t.Logf("%s: %d bytes written to the card for %d orders, one after the other", b.name, after-before[i], counted)
		if each := (after - before[i]) / counted; each > orderBytes {
			t.Errorf("%s wrote %d bytes for an order; at most %d", b.name, each, orderBytes)
		}
	}

	// Buyers on both boards, until the power is cut.
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
				if at, err := placeOrder(t.Context(), shops[i], name); err == nil {
					mu.Lock()
					acknowledged[name] = at
					mu.Unlock()
				}
			}
		})
	}
	standstill := networkStandstill{rack: rack, next: time.Now().Add(deafAfter)}
	waitUntil(t, 2*bootLimit, "twenty orders", func() error {
		standstill.check()
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
		checkReplay(t, b.card)
		b.start()
	}
	for _, b := range rack {
		b.waitSerial(bootLimit, `bramble: data partition (clean|repaired)`)
	}
	waitWholeRack(t, rack, shops, consoles)
	for name, at := range acknowledged {
		for i := range rack {
			rack[i].waitPage(shops[i]+at, name)
		}
	}
	t.Logf("%d orders were acknowledged before the power cut, and all are there", len(acknowledged))
}

// networkStandstill is a fault of the emulator's network adapter, once in many boots:
// from some moment on no packet passes it, in either direction, while everything else on
// the board goes on. Only switching it off and on helps, and each board is switched off
// and on, once, if its own shell says that it reaches no other machine.
type networkStandstill struct {
	rack  []*emulatedBoard
	next  time.Time // to look
	cured []*emulatedBoard
}

const (
	// deafAfter is the time that a rack gets to be whole before its boards are checked.
	deafAfter = 90 * time.Second
	// deafAgain is the time until the next check.
	deafAgain = 30 * time.Second
)

func (n *networkStandstill) check() {
	if time.Now().Before(n.next) {
		return
	}
	n.next = time.Now().Add(deafAgain)
	for _, b := range n.rack {
		if slices.Contains(n.cured, b) || b.hasEnded() || !b.isDeaf() {
			continue
		}
		n.cured = append(n.cured, b)
		b.t.Logf("%s: the emulator's network adapter stands still; the board is switched off and on. Its serial output\n%s", b.name, lastBytes(b.serialText(), 4000))
		b.cutPower()
		b.start()
		n.next = time.Now().Add(deafAfter)
	}
}

// isDeaf reports whether a board with an address reaches no other machine: this machine
// does not answer its pings for ten seconds, twice.
func (e *emulatedBoard) isDeaf() bool {
	e.t.Helper()
	if !strings.Contains(e.serialText(), "Please press Enter") || !strings.Contains(e.serialText(), "bramble: network eth0") {
		return false // it is not that far
	}
	const ask = "ping -q -c 10 -w 10 " + lanAddress + " | grep received"
	for range 2 {
		if !strings.Contains(e.runShell(ask), " 0 packets received") {
			return false
		}
	}
	return true
}

// orderBytes bounds what a board writes to its card for a single order:
// it writes 16 kB, and 24 kB if the kernel writes working copy and journal meanwhile
// (DESIGN.md).
const orderBytes = 40_000

// checkReplay checks a data partition as it was when the power failed: it is clean after
// its journal is replayed, as the board's kernel does.
func checkReplay(t *testing.T, card string) {
	t.Helper()
	file := copyPartition(t, card, 2)
	if out, err := exec.Command("/usr/sbin/e2fsck", "-p", file).CombinedOutput(); err != nil {
		t.Errorf("after the power cut: %v\n%s", err, out)
	}
	if out, err := exec.Command("/usr/sbin/e2fsck", "-fn", file).CombinedOutput(); err != nil {
		t.Errorf("after the power cut, with the journal replayed: %v\n%s", err, out)
	}
}

// A board whose data partition is destroyed recreates it, reports that, and receives the
// orders from the others.
func TestADestroyedDataPartitionIsFilledFromTheRack(t *testing.T) {
	skipUnlessBoards(t)
	image, inside := inNamespace(t, 30*time.Minute)
	if !inside {
		return
	}
	rack, shops, consoles := rackOf(t, image, 3)
	receipt, err := placeOrder(t.Context(), shops[0], "kept")
	if err != nil {
		t.Fatal(err)
	}
	lost := rack[2]
	lost.waitPage(shops[2]+receipt, "kept")
	lost.cutPower()
	wipeData(t, lost.card)
	lost.start()
	why := lost.waitSerial(bootLimit, `bramble: data partition recreated \((.*)\)`)
	t.Logf("recreated: %s", why)
	waitWholeRack(t, rack, shops, consoles)
	lost.waitPage(shops[2]+receipt, "kept")
	lost.cutPower()
	checkReplay(t, lost.card)
}

// wipeData overwrites the beginning and some of the middle of the data partition, like a
// failing card.
func wipeData(t *testing.T, card string) {
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

// A mistake in the settings is shown at the board's address, with its line, and the board
// starts with the corrected file.
func TestAMistakeInTheSettingsIsShownOnTheBoardsPage(t *testing.T) {
	skipUnlessBoards(t)
	image, inside := inNamespace(t, 15*time.Minute)
	if !inside {
		return
	}
	port := lanUp(t, 1)[0]
	b := newBoard(t, image, serials()[0], port...)
	const network = "ntp = [\"" + lanAddress + "\"]"
	card := "[cards.0001.network]\naddress = \"10.77.0.1/24\""
	b.writeSettings("expected_boards = 1", network, "[panel]\nhealht_pin = \"GPIO27\"", card)
	lines := strings.Split(b.readFile("bramble.toml"), "\n")
	at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "healht_pin") }) + 1
	b.start()
	const shop = "http://10.77.0.1"
	waitUntil(t, bootLimit, "the page of the mistake", func() error {
		status, page, err := getPage(t.Context(), shop+"/")
		if err != nil {
			return fmt.Errorf("%w; the last of the serial line:\n%s", err, lastBytes(b.serialText(), 1500))
		}
		for _, part := range []string{"bramble.toml", fmt.Sprintf("<strong>Line %d</strong>", at), "healht_pin", "health_pin"} {
			if !strings.Contains(page, part) {
				return fmt.Errorf("status %d, and no %q in %s", status, part, lastBytes(page, 1500))
			}
		}
		if status == http.StatusOK {
			return errors.New("the page has status 200: a monitor would take it for the shop")
		}
		return nil
	})
	b.checkBlinks(t)
	b.cutPower()
	b.writeSettings("expected_boards = 1", network, card)
	b.start()
	b.waitPage(shop+"/p/berry", "A berry.")
}

// checkBlinks checks that the green LED shows a fault.
func (e *emulatedBoard) checkBlinks(t *testing.T) {
	t.Helper()
	waitUntil(t, time.Minute, "the green LED to blink", func() error {
		seen := map[uint32]int{}
		for _, s := range e.samplePins(leastWatch) {
			seen[s.levels>>actPin&1]++
		}
		if len(seen) != 2 {
			return fmt.Errorf("its levels were %v", seen)
		}
		return nil
	})
}

// A board whose data partition is full reports that and serves pages. When there is room
// again it takes orders without a restart. It also starts on a full card.
func TestAFullDataPartitionIsReportedAndPagesAreServed(t *testing.T) {
	skipUnlessBoards(t)
	image, inside := inNamespace(t, 25*time.Minute)
	if !inside {
		return
	}
	port := lanUp(t, 1)[0]
	b := newBoard(t, image, serials()[0], port...)
	b.writeSettings("expected_boards = 1", "ntp = [\""+lanAddress+"\"]", "[cards.0001.network]\naddress = \"10.77.0.1/24\"")
	b.start()
	const shop, ops = "http://10.77.0.1", "https://10.77.0.1:8080"
	waitWholeRack(t, []*emulatedBoard{b}, []string{shop}, []string{ops})
	const fill = "dd if=/dev/zero of=/data/filler bs=64k 2>/dev/null; sync; df /data"
	b.runShell(fill)
	var kept []string // receipts of orders that were taken
	buy := func() error {
		receipt, err := placeOrder(t.Context(), shop, fmt.Sprintf("late-%d", time.Now().UnixNano()))
		if err == nil {
			kept = append(kept, receipt)
		}
		return err
	}
	// Orders go on until the log needs another block.
	waitUntil(t, 5*time.Minute, "the board to say that its card is full", func() error {
		_ = buy() // refused sooner or later
		said, err := consoleComplaints(t, ops)
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

	b.runShell("rm /data/filler; sync")
	waitUntil(t, 3*time.Minute, "orders to be taken again", buy)
	waitUntil(t, time.Minute, "the board to be content", func() error {
		said, err := consoleComplaints(t, ops)
		if err == nil && strings.Contains(said, noRoom) {
			err = fmt.Errorf("it says %q", said)
		}
		return err
	})
	if ends := strings.Count(b.serialText(), "bramble: board program ended"); ends > 0 {
		t.Errorf("the board's program ended %d times", ends)
	}

	b.runShell(fill)
	b.cutPower()
	b.start()
	b.waitPage(shop+"/p/berry", "A berry.")
	b.runShell("rm -f /data/filler; sync")
	for _, receipt := range kept {
		b.waitPage(shop+receipt, "late-")
	}
	waitUntil(t, 3*time.Minute, "orders to be taken after a start on a full card", buy)
}

// noRoom is the error of a full card in a board's reports.
const noRoom = "no space left"

// consoleComplaints returns everything that a board's console reports as wrong.
func consoleComplaints(t *testing.T, ops string) (string, error) {
	s, err := consoleSnapshot(t.Context(), ops)
	if err != nil {
		return "", err
	}
	said := strings.Join(s.Notices, " ")
	for _, one := range s.Boards {
		said += " " + strings.Join(one.Faults, " ")
	}
	return said, nil
}

// An idle board writes a bounded number of bytes to its card.
func TestAnIdleBoardHardlyWrites(t *testing.T) {
	skipUnlessBoards(t)
	image, inside := inNamespace(t, 40*time.Minute)
	if !inside {
		return
	}
	port := lanUp(t, 1)[0]
	b := newBoard(t, image, serials()[0], port...)
	b.writeSettings("expected_boards = 1", "ntp = [\""+lanAddress+"\"]", "[cards.0001.network]\naddress = \"10.77.0.1/24\"")
	b.start()
	waitWholeRack(t, []*emulatedBoard{b}, []string{"http://10.77.0.1"}, []string{"https://10.77.0.1:8080"})
	b.waitUp(idleFrom)
	before, from := b.bytesWritten()
	b.waitUp(idleFrom + idleWatch)
	after, to := b.bytesWritten()
	t.Logf("%d bytes written up to second %.0f, and %d in the %.0f s that followed", before, from, after-before, to-from)
	if after-before > idleBytes {
		t.Errorf("an idle board wrote %d bytes in %.0f s; at most %d", after-before, to-from, idleBytes)
	}
	b.checkMemory(t)
}

// waitUp waits until a board's uptime, by its own clock, which a busy machine slows down.
func (e *emulatedBoard) waitUp(want time.Duration) {
	e.t.Helper()
	waitUntil(e.t, 25*time.Minute, fmt.Sprintf("%s to be up for %v", e.name, want), func() error {
		if _, at := e.bytesWritten(); at < want.Seconds() {
			time.Sleep(5 * time.Second)
			return fmt.Errorf("it is up for %.0f s", at)
		}
		return nil
	})
}

// Until idleFrom a board writes the files of its start, and a minute later the file
// system's own records of them. From then on an idle board may write idleBytes in
// idleWatch: two such records.
const (
	idleFrom  = 100 * time.Second
	idleWatch = 5 * time.Minute
	idleBytes = 64_000
)
