//go:build unix

package node_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"bramble/node/backup"
	"bramble/node/orderservice"
)

// TestRestoreSurvivesKills restores the recorded backup in small parts, kills the leader in the
// middle and all boards before the end: the rack is empty until the last step, and restored after it.
func TestRestoreSurvivesKills(t *testing.T) {
	runBeside(t)
	r := startRack(t, 3, withShop(t, 4, ""))
	for _, b := range r.boards {
		b.waitOrders()
	}
	keyring, err := backup.NewPassphraseKeyring(backupPassphrase)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(filepath.Join("orderservice", "testdata", "recorded", "rack.age"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var book []byte
	h, err := keyring.Open(file, func(_ backup.Header, from io.Reader) (err error) { book, err = io.ReadAll(from); return err })
	if err != nil {
		t.Fatal(err)
	}
	const partSize = 500
	parts := (len(book) + partSize - 1) / partSize
	sum := sha256.Sum256(book)
	request := orderservice.RestoreRequest{Operator: "test", OpID: 99, Header: &h, Chunks: parts, Sum: hex.EncodeToString(sum[:]), AcceptClock: true}
	at := r.boards[0]
	step := func(method, path string, body []byte) {
		t.Helper()
		eventually(t, path, func() (bool, string) {
			got, err := at.callConsole(method, "/api/v1/shop/"+path, string(body))
			if err != nil {
				return false, err.Error()
			}
			return got.status == http.StatusOK, got.body
		})
	}
	send := func(action string) {
		t.Helper()
		request.Action = action
		body, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		step(http.MethodPost, "restore", body)
	}
	send("begin")
	for n := range parts {
		if n == parts/2 {
			leader := r.leader()
			leader.kill()
			if at == leader {
				at = r.boards[1]
			}
			defer leader.start()
		}
		step(http.MethodPut, fmt.Sprintf("restore/99/%d", n), book[n*partSize:min((n+1)*partSize, len(book))])
	}
	if all := at.listOrders(); len(all) != 0 {
		t.Errorf("%d orders before the end", len(all))
	}
	var alive []*process
	for _, b := range r.boards {
		select {
		case <-b.exited:
		default:
			b.kill()
			alive = append(alive, b)
		}
	}
	for _, b := range alive {
		b.start()
	}
	request.Header, request.Chunks, request.Sum = nil, 0, ""
	send("finish")
	for _, b := range alive {
		if all := b.listOrders(); len(all) != int(h.Orders) {
			t.Errorf("%s has %d orders, want %d", b.name, len(all), h.Orders)
		}
	}
}

// TestScheduledBackupOfARack: a board with [backup] directory writes a file there that its owner's key
// opens, and reports it. The directory must be on another disk than the orders.
func TestScheduledBackupOfARack(t *testing.T) {
	runBeside(t)
	if testing.Short() {
		t.Skip("the first backup is made after ten seconds")
	}
	stick, err := os.MkdirTemp("/dev/shm", "bramble-backup-")
	if err != nil {
		t.Skipf("this system has no second file system for a test: %v", err)
	}
	defer os.RemoveAll(stick)
	owner, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "key.txt")
	if err := os.WriteFile(key, []byte(owner.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	program := buildProgram(t)
	r := startRack(t, 1, withShop(t, 4, "")+fmt.Sprintf("[backup]\ndirectory = %q\nrecipients = [%q]\n", stick, owner.Recipient()))
	b := r.boards[0]
	b.waitOrders()
	b.mustOrder("buyer", "berry")
	var files []string
	eventually(t, "a backup on the stick", func() (bool, string) {
		files, err = filepath.Glob(filepath.Join(stick, "*.age"))
		return len(files) == 1, fmt.Sprint(files, err)
	})
	eventually(t, "the metrics to have it", func() (bool, string) {
		at := b.metric(`bramble_backup_last_success_timestamp_seconds{to="directory"}`)
		return time.Since(time.Unix(int64(at), 0)) < time.Hour && b.metric(`bramble_backup_size_bytes{to="directory"}`) > 0, fmt.Sprint(at)
	})
	if out, err := b.runProgram(program, "backup", "--status"); err != nil || !strings.Contains(out, stick) || strings.Contains(out, "none known") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err := exec.Command(program, "backup", "--verify", files[0], "--identity", key, "--json").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte(`"orders":1`)) {
		t.Errorf("%v\n%s", err, out)
	}
}
