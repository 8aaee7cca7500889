//go:build unix

package node_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bramble/node/orders/draw"
	"bramble/node/orderservice"
	"bramble/node/shop"
)

const backupPassphrase = "correct horse battery staple"

// recordTo is a folder to which TestBackupIsRestoredElsewhere writes its backup, and what is in
// it, for later programs to restore.
var recordTo = flag.String("record-backup", "", "write the backup of the test to this folder")

// recordBackup writes a backup and a line for each receipt.
func recordBackup(t *testing.T, dir, file string, paths map[string]string, receipts map[string]shop.Receipt) {
	t.Helper()
	var lines []string
	for name, r := range receipts {
		position := 0
		if r.Position != nil {
			position = *r.Position
		}
		lines = append(lines, fmt.Sprintf("%s %s %s %d %s %d\n", paths[name], r.Kind, r.Product, r.Quantity, r.State, position))
	}
	slices.Sort(lines)
	data, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "rack.age"), data, 0o644)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "rack.txt"), []byte(strings.Join(lines, "")), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// buildProgram builds the real program.
func buildProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "bramble")
	if out, err := exec.Command("go", "build", "-o", program, "bramble/cmd/bramble").CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	return program
}

// runProgram runs the program as an operator does, against this board, and returns its output.
func (p *process) runProgram(program string, args ...string) (string, error) {
	cmd := exec.Command(program, append(args, "--console", p.console)...)
	cmd.Env = append(os.Environ(), "BRAMBLE_BACKUP_PASSPHRASE="+backupPassphrase)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// orderProduct orders a product by its form, and returns the path of the receipt.
func (b *buyer) orderProduct(board, product string) (path string, seen page) {
	form, err := fetch(b.http, board+"/p/"+product+"/order")
	if err != nil {
		return "", page{body: err.Error()}
	}
	return b.submitProduct(board, product, b.fillForm(form.body))
}

// submitProduct submits a filled form of a product.
func (b *buyer) submitProduct(board, product string, form url.Values) (path string, seen page) {
	r, err := http.NewRequest(http.MethodPost, board+"/p/"+product+"/place", strings.NewReader(form.Encode()))
	if err != nil {
		return "", page{body: err.Error()}
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if seen, err = send(b.http, r); err != nil || seen.status != http.StatusSeeOther {
		return "", seen
	}
	return seen.header.Get("Location"), seen
}

// mustOrder is orderProduct that retries until the order is placed.
func (p *process) mustOrder(name, product string) string {
	p.rack.t.Helper()
	var path string
	b := newBuyer(name) // with one token: the form that is sent again is the same order
	eventually(p.rack.t, name+" to order "+product, func() (bool, string) {
		var seen page
		path, seen = b.orderProduct(p.http, product)
		return path != "", seen.body
	})
	return path
}

// withManyKinds returns the configuration of a shop with a product of each kind.
func withManyKinds(t *testing.T) string {
	hour := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	more := "waiting_list = true\n"
	for slug, keys := range map[string]string{
		"drawn": fmt.Sprintf("mode = \"ballot\"\nopens = %s\ncloses = %s\ndraw = \"dice\"\nstock = 2", hour(-time.Hour), hour(time.Hour)),
		"late":  fmt.Sprintf("mode = \"ballot\"\nopens = %s\ncloses = %s\ndraw = \"dice\"\nstock = 2", hour(-time.Hour), hour(time.Hour)),
		"idea":  "mode = \"interest\"\nstock = 9",
		"bulk":  "stock = 5000",
	} {
		more += fmt.Sprintf("[[product]]\nslug = %q\nname = %q\ntagline = \"One\"\ndescription = [\"It.\"]\nprice = \"10.00\"\nlimit_per_person = 1\n%s\n", slug, slug, keys)
	}
	return withShop(t, 4, more)
}

// TestBackupIsRestoredElsewhere makes a backup of a busy rack and restores it into racks with
// other names, other keys and other numbers of boards: everything stays valid.
func TestBackupIsRestoredElsewhere(t *testing.T) {
	runBeside(t)
	if testing.Short() {
		t.Skip("three racks of processes take seconds to start")
	}
	program := buildProgram(t)
	config := withManyKinds(t)
	r := startRack(t, 3, config)
	for _, b := range r.boards {
		b.waitOrders()
	}
	paths := map[string]string{} // of receipts, by buyer and product
	for product, buyers := range map[string]int{"drawn": 6, "late": 5, "idea": 3} {
		for n := range buyers {
			name := fmt.Sprintf("%s%d", product, n)
			paths[name] = r.boards[n%3].mustOrder(name, product)
		}
	}
	for n := range 4 {
		name := fmt.Sprintf("berry%d", n)
		paths[name] = r.boards[n%3].mustOrder(name, "berry")
	}
	for n := range 4 { // sold out now: the same form joins the waiting list
		name := fmt.Sprintf("waits%d", n)
		paths[name] = r.boards[0].mustOrder(name, "berry")
	}
	const rolled = "36115246613611524661"
	for _, o := range []orderservice.OperatorCommand{
		{Action: "close", Product: "drawn"}, {Action: "close", Product: "late"},
		{Action: "draw", Product: "drawn", Kind: "dice", Text: rolled},
	} {
		eventually(t, o.Action+" "+o.Product, func() (bool, string) { // a draw waits for its list
			got := r.boards[0].sendCommand(o)
			return got.status == http.StatusOK, got.body
		})
	}
	published := r.boards[1].waitDraw("drawn")
	leader := r.leader()
	follower := r.boards[0]
	if follower == leader {
		follower = r.boards[1]
	}

	// Orders arrive all the time; those acknowledged before the backup begins are in it.
	stop, arrived := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				arrived <- n
				return
			default:
			}
			newBuyer(fmt.Sprintf("load%d", n)).orderProduct(leader.http, "bulk")
		}
	}()
	for n := range 20 {
		name := fmt.Sprintf("bulk%d", n)
		paths[name] = r.boards[n%3].mustOrder(name, "bulk")
	}
	file := filepath.Join(t.TempDir(), "rack.age")
	out, err := follower.runProgram(program, "backup", "--out", file)
	close(stop)
	load := <-arrived
	if err != nil {
		t.Fatalf("backup: %v\n%s", err, out)
	}
	t.Logf("with %d orders besides:\n%s", load, out)
	before := map[string]shop.Receipt{}
	for name, path := range paths {
		receipt, err := follower.receipt(path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		before[name] = receipt
	}
	if *recordTo != "" {
		recordBackup(t, *recordTo, file, paths, before)
	}
	if out, err := follower.runProgram(program, "restore", file); err == nil || !strings.Contains(out, "this rack is not empty") {
		t.Errorf("restored into the rack itself: %v\n%s", err, out)
	}
	for _, b := range r.boards {
		b.kill()
	}
	wrong := exec.Command(program, "backup", "--verify", file)
	wrong.Env = append(os.Environ(), "BRAMBLE_BACKUP_PASSPHRASE="+backupPassphrase+"!")
	if out, err := wrong.CombinedOutput(); err == nil || !strings.Contains(string(out), "does not open the backup") {
		t.Errorf("the wrong passphrase: %v\n%s", err, out)
	}

	for _, size := range []int{1, 5} {
		t.Run(fmt.Sprintf("into a rack of %d", size), func(t *testing.T) {
			other := newRenamedRack(t, size, config, "pi")
			other.startAll()
			for _, b := range other.boards {
				b.waitOrders()
			}
			last := other.boards[size-1]
			restoreRetried(t, last, program, file)
			for i, b := range other.boards {
				for name, path := range paths {
					receipt, err := b.receipt(path)
					if err != nil {
						t.Fatalf("%s has no receipt of %s: %v", b.name, name, err)
					}
					compareReceipts(t, b.name+": "+name, before[name], receipt)
				}
				if again := b.waitDraw("drawn"); fmt.Sprint(again) != fmt.Sprint(published) {
					t.Errorf("%s publishes another draw", b.name)
				}
				// The same person in another browser gets no second order, and no receipt.
				name := fmt.Sprintf("bulk%d", i)
				for _, details := range []string{"", "moved"} {
					again := newBuyer(name)
					again.name += details
					eventually(t, b.name+" to answer "+again.name, func() (bool, string) { // orders pause at a restore
						form := again.fillForm(b.get("/p/bulk/order").body)
						form.Set("email", name+"@buyer.example")
						path, seen := again.submitProduct(b.http, "bulk", form)
						if path != "" {
							t.Fatalf("%s orders again and gets %q", again.name, path)
						}
						return strings.Contains(seen.body, "something was placed here before"), seen.body
					})
				}
			}
			eventually(t, "the draw that was pending", func() (bool, string) {
				got := last.sendCommand(orderservice.OperatorCommand{Action: "draw", Product: "late", Kind: "dice", Text: rolled})
				return got.status == http.StatusOK, got.body
			})
			if f := last.waitDraw("late"); len(f.Winners) != 2 || len(f.Entries) != 5 || draw.Verify(f) != nil {
				t.Errorf("the draw that was pending: %+v, %v", f, draw.Verify(f))
			}
			other.boards[0].mustOrder("newcomer", "bulk")
			if out, err := last.runProgram(program, "restore", file); err == nil || !strings.Contains(out, "this rack is not empty") {
				t.Errorf("restored twice: %v\n%s", err, out)
			}
			for _, b := range other.boards {
				b.kill()
			}
			for _, b := range other.boards { // and it survives a power cut
				b.start()
			}
			for _, b := range other.boards {
				b.waitOrders()
				if _, err := b.receipt(paths["waits2"]); err != nil {
					t.Errorf("after a restart: %v", err)
				}
			}
		})
	}
}

// restoreRetried restores a backup; a rack whose boards have only just met may still need a
// moment to agree on its rules.
func restoreRetried(t *testing.T, p *process, program, file string) {
	t.Helper()
	eventually(t, "the restore", func() (bool, string) {
		out, err := p.runProgram(program, "restore", file)
		if err == nil {
			said := strings.Join(strings.Fields(out), " ")
			if !strings.Contains(said, "People who were erased after the backup are back") || !strings.Contains(said, "Ballots that the backup has not drawn: late.") {
				t.Errorf("the restore does not say what is back:\n%s", out)
			}
			t.Log(out)
			return true, ""
		}
		if !strings.Contains(out, "the rack still uses rules") {
			t.Fatalf("restore: %v\n%s", err, out)
		}
		return false, out
	})
}

// compareReceipts compares what a receipt says before and after, apart from the address of
// this board.
func compareReceipts(t *testing.T, what string, before, after shop.Receipt) {
	t.Helper()
	before.Current, after.Current = true, true
	a, errA := json.Marshal(before)
	b, errB := json.Marshal(after)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("%s: the receipt was\n%s\nand is\n%s", what, a, b)
	}
}

// newRenamedRack prepares a rack whose boards have other names.
func newRenamedRack(t *testing.T, size int, extra, prefix string) *rack {
	t.Helper()
	r := newRack(t, size, extra)
	for i, b := range r.boards {
		text, err := os.ReadFile(b.file)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("%s-%d", prefix, i+1)
		text = bytes.Replace(text, fmt.Appendf(nil, "name = %q", b.name), fmt.Appendf(nil, "name = %q", name), 1)
		if err := os.WriteFile(b.file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		b.name = name
	}
	return r
}

// waitDraw waits until a board publishes a draw.
func (p *process) waitDraw(product string) draw.File {
	p.rack.t.Helper()
	var f draw.File
	eventually(p.rack.t, p.name+" to publish the draw of "+product, func() (bool, string) {
		got := p.get("/p/" + product + "/draw.json")
		f = draw.File{}
		return got.status == http.StatusOK && json.Unmarshal([]byte(got.body), &f) == nil && len(f.Winners) > 0, got.body
	})
	return f
}
