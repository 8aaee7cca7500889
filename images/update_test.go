//go:build linux

package images

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Files beside the image that all tests share.
const (
	nextImage   = "next.img" // the same with another version of Bramble
	nextVersion = "devel"    // which is what a build without git's stamp calls itself
	hostProgram = "bramble"  // for this machine
	updateKey   = "update.key"
)

// buildNextImage builds the image of another version, and the program that rolls it out.
func buildNextImage(t *testing.T) {
	t.Helper()
	sharedImage(t)
	if built.report.Version == nextVersion {
		failOrSkip(t, "this test needs git, and the source in its work tree: both builds call themselves "+nextVersion)
	}
	program := filepath.Join(built.folder, "bramble-armv6")
	for _, b := range []struct {
		file string
		env  []string
	}{
		{program, []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm", "GOARM=6"}},
		{filepath.Join(built.folder, hostProgram), []string{"CGO_ENABLED=0"}},
	} {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", b.file, module+"/cmd/bramble")
		cmd.Env = append(os.Environ(), b.env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	o := built.options
	o.Binary, o.Out = program, filepath.Join(built.folder, nextImage)
	report, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if report.Version != nextVersion {
		t.Fatalf("the next version is %q", report.Version)
	}
}

// A new version is rolled over the rack, board by board, while the rack serves. After that
// the cards start with it.
func TestAnUpdateRollsOverTheRack(t *testing.T) {
	skipUnlessBoards(t)
	if os.Getenv(aloneEnv) == "" {
		buildNextImage(t)
	}
	image, inside := inNamespace(t, 30*time.Minute)
	if !inside {
		return
	}
	rack, shops, consoles := rackOf(t, image, 2)
	receipt, err := placeOrder(t.Context(), shops[0], "before")
	if err != nil {
		t.Fatal(err)
	}

	// A shopper behind a load balancer, which picks a board that is ready: a board is
	// drained only when no client comes.
	done := make(chan struct{})
	var shopper sync.WaitGroup
	served, unserved := 0, 0
	shopper.Go(func() {
		for on := 0; ; {
			select {
			case <-done:
				return
			case <-time.After(3 * time.Second): // the emulated network card is slow
			}
			var err error
			for range shops {
				if err = checkReady(t.Context(), shops[on], consoles[on]); err == nil {
					break
				}
				on = (on + 1) % len(shops)
			}
			if err != nil {
				unserved++
				t.Errorf("no board of the rack had the page: %v", err)
			} else {
				served++
			}
		}
	})
	stop := sync.OnceFunc(func() {
		close(done)
		shopper.Wait()
	})
	defer stop()
	settings := filepath.Join(t.TempDir(), "bramble.toml") // with the rack key, which each board must prove
	if err := os.WriteFile(settings, []byte(rack[0].readFile("bramble.toml")), 0o600); err != nil {
		t.Fatal(err)
	}
	roll := exec.CommandContext(t.Context(), filepath.Join(filepath.Dir(image), hostProgram),
		"update", "--allow-downgrade", filepath.Join(filepath.Dir(image), updateKey), // a build without git's stamp is the older one
		"--config", settings, "--console", consoles[0], filepath.Join(filepath.Dir(image), nextImage))
	roll.Env = append(os.Environ(), "BRAMBLE_CONSOLE_PASSWORD="+testPassword)
	rolled := make(chan struct{})
	var said []byte
	go func() {
		defer close(rolled)
		said, err = roll.CombinedOutput()
	}()
	for began := time.Now(); ; {
		select {
		case <-rolled:
			t.Logf("the roll took %.0f s", time.Since(began).Seconds())
		case <-time.After(100 * time.Millisecond):
			for _, b := range rack {
				b.tryNext()
			}
			continue
		}
		break
	}
	stop()
	if err != nil {
		for _, b := range rack {
			t.Logf("%s:\n%s", b.name, lastBytes(b.serialText(), 2500))
		}
		t.Fatalf("bramble update: %v\n%s", err, said)
	}
	t.Logf("a shopper was served %d times and refused %d times during\n%s", served, unserved, said)

	waitWholeRack(t, rack, shops, consoles)
	for i, b := range rack {
		s, err := consoleSnapshot(t.Context(), consoles[i])
		if err != nil {
			t.Fatal(err)
		}
		if s.Version != nextVersion {
			t.Errorf("%s runs %q", b.name, s.Version)
		}
		b.cutPower()
		checkFAT(t, b.card)
		if c := b.readFile("config.txt"); !strings.Contains(c, "os_prefix=b/") {
			t.Errorf("%s would start from another slot:\n%s", b.name, c)
		}
	}
	for _, b := range rack {
		b.start()
	}
	for _, b := range rack {
		b.waitSerial(bootLimit, `bramble: board \S+ starts, slot b, `+nextVersion)
	}
	waitWholeRack(t, rack, shops, consoles)
	rack[1].waitPage(shops[1]+receipt, "before")
}

// checkReady loads the product page of a board that reports that it is ready.
func checkReady(ctx context.Context, shop, ops string) error {
	for _, at := range []string{ops + "/readyz", shop + "/p/berry"} {
		status, _, err := getPage(ctx, at)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%s: status %d", at, status)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
