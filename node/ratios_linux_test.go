package node_test

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bramble/node/sockets/socketstest"
)

var ratios = flag.Bool("ratios", false, "hold a board's CPU for a hit against nginx, Varnish and a C program")

const ratioRounds = 7

// TestRatios reports the CPU time of a board for a hit, relative to nginx
// (open_file_cache), Varnish and a C program that only reads and writes, in the
// same run: a page of 4 KB, 64 persistent connections, the server on one CPU and
// the client (wrk) on the other, alternating; medians of the rounds' ratios:
//
//	go test ./node -run Ratios -v -ratios
//
// It needs Debian's nginx-light, varnish, wrk and gcc.
func TestRatios(t *testing.T) {
	if !*ratios {
		t.Skip("a measurement: run it with -ratios")
	}
	for _, tool := range []string{"nginx", "varnishd", "wrk", "gcc", "taskset"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed: apt-get install nginx-light varnish wrk gcc util-linux", tool)
		}
	}
	dir, err := os.MkdirTemp("", "ratios") // nginx's worker and Varnish may not read t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ports := socketstest.FreePorts(t, 3)
	at := func(i int) string { return fmt.Sprintf("http://127.0.0.1:%d/page.html", ports+i) }
	write(t, filepath.Join(dir, "page.html"), strings.Repeat("0123456789abcdef", 256))
	write(t, filepath.Join(dir, "nginx.conf"), fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/errors;
events { worker_connections 1000; }
http { access_log off; types { text/html html; } open_file_cache max=100 inactive=1h; open_file_cache_valid 1h; keepalive_requests 100000000;
client_body_temp_path %[1]s/1; proxy_temp_path %[1]s/2; fastcgi_temp_path %[1]s/3; uwsgi_temp_path %[1]s/4; scgi_temp_path %[1]s/5;
server { listen 127.0.0.1:%[2]d; root %[1]s; add_header Cache-Control "public, max-age=3600"; } }
`, dir, ports))
	floor := filepath.Join(dir, "floor")
	if out, err := exec.Command("gcc", "-O2", "-o", floor, "testdata/floor.c").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	type server struct {
		name, url string
		pid       int
	}
	r := newRack(t, 1, fmt.Sprintf("[origin]\nurl = \"http://127.0.0.1:%d\"\n", ports))
	board := r.boards[0]
	board.before = []string{"taskset", "-c", "0"}
	all := []server{
		{"nginx", at(0), background(t, "nginx", "-c", filepath.Join(dir, "nginx.conf"))},
		{"varnish", at(1), background(t, "varnishd", "-F", "-n", filepath.Join(dir, "varnish"), "-a", fmt.Sprintf("127.0.0.1:%d", ports+1),
			"-b", fmt.Sprintf("127.0.0.1:%d", ports), "-s", "malloc,64m")},
		{"floor", at(2), background(t, floor, fmt.Sprint(ports+2))},
	}
	board.start()
	board.waitReady()
	all = append(all, server{"board", board.http + "/page.html", board.cmd.Process.Pid})
	for _, s := range all {
		eventually(t, s.name+" to answer", func() (bool, string) {
			for range 3 { // the second request makes the board store it
				if got, err := fetch(client(), s.url); err != nil || got.status != http.StatusOK {
					return false, fmt.Sprint(got.status, err)
				}
			}
			return true, ""
		})
	}
	costs := map[string][]float64{}
	for range ratioRounds {
		for _, s := range all {
			costs[s.name] = append(costs[s.name], costOfHit(t, s.url, s.pid))
		}
	}
	for _, s := range all {
		t.Logf("%-8s %6.2f µs of CPU a hit", s.name, median(costs[s.name]))
	}
	for _, s := range all[:3] {
		var parts []float64
		for i, cost := range costs[s.name] {
			parts = append(parts, costs["board"][i]/cost)
		}
		t.Logf("board / %-8s %.2f", s.name, median(parts))
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

// background runs a server on the first CPU until the test ends.
func background(t *testing.T, command ...string) (pid int) {
	t.Helper()
	cmd := exec.Command("taskset", append([]string{"-c", "0"}, command...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		ended := make(chan struct{})
		go func() {
			cmd.Wait()
			close(ended)
		}()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
	})
	return cmd.Process.Pid
}

// costOfHit runs wrk for a second and returns the microseconds of CPU that a server
// and its children used for each hit.
func costOfHit(t *testing.T, url string, pid int) float64 {
	t.Helper()
	before := cpuOf(t, pid)
	out, err := exec.Command("taskset", "-c", "1", "wrk", "-t1", "-c64", "-d1s", url).Output()
	if err != nil {
		t.Fatal(err)
	}
	took := cpuOf(t, pid) - before
	_, rest, _ := strings.Cut(string(out), "threads and 64 connections")
	for line := range strings.Lines(rest) {
		var hits int
		if n, _ := fmt.Sscanf(strings.TrimSpace(line), "%d requests in", &hits); n == 1 && hits > 0 && !strings.Contains(rest, "Non-2xx") {
			return float64(took.Microseconds()) / float64(hits)
		}
	}
	t.Fatalf("wrk printed\n%s", out)
	return 0
}

// cpuOf returns the CPU time of a process and of its children.
func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	var total time.Duration
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		parent, own := fields[1], filepath.Base(filepath.Dir(path))
		if own != fmt.Sprint(pid) && parent != fmt.Sprint(pid) {
			continue
		}
		var user, system int64
		if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
			t.Fatal(err)
		}
		total += time.Duration(user+system) * tick
	}
	return total
}
