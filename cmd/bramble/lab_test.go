//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"bramble/node/lab"
)

// startLab builds the program, runs its lab on free ports as a new user would, and
// reads the line that it prints.
func startLab(t *testing.T, args ...string) (*exec.Cmd, lab.Summary) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "bramble")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	cmd := exec.Command(program, append([]string{"lab", "--json", "--listen", "127.0.0.1:0"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the lab printed nothing: %v", err)
	}
	var summary lab.Summary
	if err := json.Unmarshal([]byte(line), &summary); err != nil {
		t.Fatalf("the lab printed %q: %v", line, err)
	}
	return cmd, summary
}

// gone waits until none of a lab's boards has a process.
func gone(t *testing.T, boards []lab.BoardSummary) {
	t.Helper()
	for _, b := range boards {
		for deadline := time.Now().Add(patience); !errors.Is(syscall.Kill(b.PID, 0), syscall.ESRCH); {
			if time.Now().After(deadline) {
				t.Fatalf("%s, process %d, is left behind", b.Name, b.PID)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func TestLabServesPagesAndLeavesNoProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the program and runs boards")
	}
	cmd, summary := startLab(t)
	if len(summary.Boards) != 5 {
		t.Fatalf("the lab has %d boards, want 5", len(summary.Boards))
	}
	client := &http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	for _, b := range summary.Boards {
		for path, text := range map[string]string{
			"/p/raspberry-pi-model-b":                  "Raspberry Pi",
			"/p/raspberry-pi-model-b/order?country=DE": "Germany",
			"/status":      "In stock",
			"/status.json": `"in_stock"`,
		} {
			resp, err := client.Get(b.HTTPURL + path)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), text) {
				t.Errorf("%s%s: status %d, %v, want a page with %q", b.HTTPURL, path, resp.StatusCode, err, text)
			}
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C the lab ended with: %v", err)
	}
	gone(t, summary.Boards)
	if _, err := os.Stat(summary.State); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary folder %s is left behind: %v", summary.State, err)
	}
}

// A killed lab cannot clean up. It leaves no board behind either, not even one
// that is paused and so does not notice.
func TestBoardsEndWithAKilledLab(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the program and runs boards")
	}
	cmd, summary := startLab(t, "--boards", "2", "--state", t.TempDir())
	if err := syscall.Kill(summary.Boards[1].PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	running := summary.Boards
	if runtime.GOOS != "linux" { // only there the kernel ends a child with its parent
		running = running[:1]
		_ = syscall.Kill(summary.Boards[1].PID, syscall.SIGKILL)
	}
	gone(t, running)
}
