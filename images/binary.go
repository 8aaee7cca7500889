package images

import (
	"cmp"
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

// module is the Go module of the card's program.
const module = "bramble"

// goProgram is the card's Bramble program.
type goProgram struct {
	content  []byte
	version  string
	modules  []*debug.Module // linked into it, without its own
	golang   string          // the compiler, such as "go1.26.8"
	released time.Time       // of the source; zero if nothing tells
}

// loadProgram builds the card's program, or reads the one that the options name.
func (b *builder) loadProgram(ctx context.Context) error {
	file := b.options.Binary
	if file == "" {
		b.options.progressf("building Bramble for the first boards")
		file = filepath.Join(b.work, "bramble")
		if err := b.compileProgram(ctx, file); err != nil {
			return err
		}
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the program: %w", err)
	}
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%s was not built by Go: %w", file, err)
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if err := checkARMv6(settings); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	released, err := b.findReleased(ctx, settings["vcs.time"])
	if err != nil {
		return err
	}
	b.binary = goProgram{content, versionOf(info), info.Deps, info.GoVersion, released}
	return nil
}

// findReleased returns the time of the source: what the owner says, or the commit's time that the build has, or git. Go stamps
// no program that it builds in a git worktree. Without any there is no signature.
func (b *builder) findReleased(ctx context.Context, stamp string) (time.Time, error) {
	text := cmp.Or(b.options.Released, stamp)
	if _, err := os.Stat(".git"); err == nil && text == "" && b.options.Binary == "" { // a folder above may be another project's
		out, _ := exec.CommandContext(ctx, "git", "log", "-1", "--format=%cI").Output()
		text = strings.TrimSpace(string(out))
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil && (b.options.UpdateKey != nil || b.options.Released != "") {
		return at, fmt.Errorf("the time of the source, by which boards refuse older versions, is %q: build in your own git checkout, or write the time of this version such as --released 2026-11-30T12:00:00Z", text)
	}
	return at.UTC(), nil
}

// compileProgram builds the program from the source in the current folder.
func (b *builder) compileProgram(ctx context.Context, file string) error {
	env := append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm", "GOARM=6", "GOFLAGS=-mod=readonly")
	out, err := b.tools.runWithEnv(ctx, env, "go", "list", "-m")
	if err != nil || strings.TrimSpace(string(out)) != module {
		return fmt.Errorf("the current folder is not Bramble's source: change to it, or name a built program with --binary")
	}
	build := func(stamp string) error {
		_, err := b.tools.runWithEnv(ctx, env, "go", "build", "-trimpath", "-buildvcs="+stamp, "-ldflags=-s -w", "-o", file, module+"/cmd/bramble")
		return err
	}
	err = build("auto")
	if err != nil && strings.Contains(err.Error(), "-buildvcs=false") { // the folder belongs to another user, and git refuses
		err = build("false")
	}
	if err != nil {
		return fmt.Errorf("building the card's program: %w", err)
	}
	return nil
}

// checkARMv6 refuses a program that cannot run on a first board.
func checkARMv6(settings map[string]string) error {
	if settings["GOOS"] != "linux" || settings["GOARCH"] != "arm" || strings.HasPrefix(settings["GOARM"], "7") {
		return fmt.Errorf("this is a program for %s %s%s: build it with GOOS=linux GOARCH=arm GOARM=6", settings["GOOS"], settings["GOARCH"], settings["GOARM"])
	}
	if settings["CGO_ENABLED"] != "0" {
		return fmt.Errorf("this program needs libraries that the card does not have: build it with CGO_ENABLED=0")
	}
	return nil
}

// versionOf returns the version that "bramble version" will print.
func versionOf(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return "devel"
}
