//go:build unix

package console_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// realLab builds the program, starts its lab on free ports, and returns the URL
// of the lab's console. The lab ends with the test.
func realLab(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("a lab takes seconds to build and to start")
	}
	program := filepath.Join(t.TempDir(), "bramble")
	if out, err := exec.Command("go", "build", "-o", program, "bramble/cmd/bramble").CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	lab := exec.Command(program, "lab", "--json", "--listen", "127.0.0.1:0")
	out, err := lab.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Process.Signal(syscall.SIGINT); err != nil {
			t.Errorf("stopping the lab: %v", err)
		}
		overdue := time.AfterFunc(patience, func() { _ = lab.Process.Kill() })
		defer overdue.Stop()
		if err := lab.Wait(); err != nil {
			t.Errorf("the lab ended with: %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the lab did not say where it is: %v", err)
	}
	var said struct{ Console string }
	if err := json.Unmarshal([]byte(line), &said); err != nil || said.Console == "" {
		t.Fatalf("the lab said %q: %v", line, err)
	}
	return said.Console
}

// The page of a real rack: five boards, each a process,
// appear; one is killed, paused, revived; and the browser has no complaint.
func TestPageOfARealLab(t *testing.T) {
	page := browser(t)
	url := realLab(t)
	press := func(board, do string) chromedp.Action[chromedp.Void] {
		return chromedp.Click(chromedp.CSS(fmt.Sprintf(`[data-board=%q] button[data-do=%q]`, board, do)))
	}
	err := page.do(
		chromedp.EmulateViewport(1440, 1000),
		chromedp.Navigate(url),
		until(`document.querySelectorAll('.board').length === 5`),
		until(fmt.Sprintf(boardState, "board-5", "serving")),
		until(`document.querySelectorAll('#ring .arcs').length === 5`),
		press("board-3", "kill"),
		until(fmt.Sprintf(boardState, "board-3", "dead")),
		until(`document.querySelectorAll('#ring .arcs').length === 4`),
		until(`document.querySelector('#log').textContent.includes('board-3')`),
		press("board-3", "revive"),
		until(fmt.Sprintf(boardState, "board-3", "serving")),
		press("board-2", "pause"),
		until(fmt.Sprintf(boardState, "board-2", "paused")),
		press("board-2", "revive"),
		until(fmt.Sprintf(boardState, "board-2", "serving")),
		chromedp.SendKeys(chromedp.ID("value"), "/status\n"),
		until(`document.querySelector('#purge-result').textContent.includes('board-5')`),
	)
	if err != nil {
		t.Error(err)
	}
	page.checkComplaints(t)
}
