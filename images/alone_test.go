//go:build linux

package images

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bramble/images/cardinit"
	"bramble/node/config"
)

// The tests that boot emulated boards run in their own network namespace,
// where they may answer DHCP and NTP and no other test's boards are heard.

var (
	boards = flag.Bool("boards", false, "run the long tests too, with several emulated boards")
	keep   = flag.String("keep", "", "folder for the boards' serial logs")
)

// Environment variables from the outer to the inner process.
const (
	aloneEnv = "BRAMBLE_TEST_ALONE" // the test's name
	cardEnv  = "BRAMBLE_TEST_CARD"  // the image, built where there was a network
)

// bootLimit bounds a boot of an emulated board on a busy machine; on an idle one
// it takes ten seconds.
const bootLimit = 3 * time.Minute

// needTools skips a test whose tools are missing; in CI that is a failure.
func needTools(t *testing.T, tools ...tool) {
	t.Helper()
	if _, err := findTools(tools...); err != nil {
		failOrSkip(t, err.Error())
	}
}

func failOrSkip(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// inNamespace runs the rest of a test in a new network namespace, with the image. In the
// outer process inside is false. Such tests may run in parallel.
func inNamespace(t *testing.T, limit time.Duration) (image string, inside bool) {
	t.Helper()
	if os.Getenv(aloneEnv) == t.Name() {
		return os.Getenv(cardEnv), true
	}
	if testing.Short() {
		t.Skip("an emulated board takes its time")
	}
	needTools(t, tool{"qemu-system-arm", "qemu-system-arm"}, tool{"unshare", "util-linux"}, tool{"ip", "iproute2"},
		tool{"mcopy", "mtools"}, tool{"fsck.vfat", "dosfstools"}, tool{"e2fsck", "e2fsprogs"})
	var unshare []string
	for _, how := range [][]string{{"--net"}, {"--net", "--map-root-user"}} {
		if exec.Command("unshare", append(how, "true")...).Run() == nil {
			unshare = how
			break
		}
	}
	if unshare == nil {
		failOrSkip(t, "this test needs the right to make a network namespace (root)")
	}
	image = sharedImage(t)
	t.Parallel() // an idle board takes half a core
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(unshare, self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+limit.String(), "-keep="+*keep)
	if *boards {
		args = append(args, "-boards")
	}
	if *instructions {
		args = append(args, "-instructions")
	}
	cmd := exec.CommandContext(t.Context(), "unshare", args...)
	cmd.Env = append(os.Environ(), aloneEnv+"="+t.Name(), cardEnv+"="+image)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Errorf("in its own network namespace: %v\n%s", err, out)
	default:
		t.Logf("%s", out)
	}
	return "", false
}

// testPassword steers the consoles of all emulated boards.
const testPassword = "a password for the console"

// built is the image that all tests of one run share.
var built struct {
	sync.Once
	folder, image, settings string
	options                 Options
	report                  BuildResult
	err                     error
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if built.folder != "" {
		os.RemoveAll(built.folder)
	}
	os.Exit(code)
}

// sharedImage builds the image of this source, once.
func sharedImage(t *testing.T) string {
	t.Helper()
	needTools(t, buildTools(Options{})...)
	built.Do(func() {
		if built.folder, built.err = os.MkdirTemp("", "card-"); built.err != nil {
			return
		}
		built.settings = filepath.Join(built.folder, "bramble.toml")
		private, public := cardinit.NewUpdateKey()
		text := fmt.Sprintf("[rack]\nkey = %q\n[update]\nkeys = [%q]\n", config.NewRackKey().Reveal(), public)
		if built.err = errors.Join(os.WriteFile(built.settings, []byte(text), 0o600), os.WriteFile(filepath.Join(built.folder, updateKey), private, 0o600)); built.err != nil {
			return
		}
		shop := filepath.Join(built.folder, "shop")
		if built.err = writeFile(filepath.Join(shop, "catalogue.toml"), []byte(newCatalogue())); built.err != nil {
			return
		}
		built.image = filepath.Join(built.folder, "bramble.img")
		built.options = Options{Config: built.settings, Shop: shop, Out: built.image, UpdateKey: private, Released: "2026-01-01T00:00:00Z"}
		built.report, built.err = Build(t.Context(), built.options)
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.image
}
