package images

import (
	"context"
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

// module is the Go module of the card's program.
const module = "bramble"

// goProgram is the card's Bramble program.
type goProgram struct {
	content   []byte
	version   string
	modules   []*debug.Module // linked into it, its own first
	golang    string          // the compiler, such as "go1.26.8"
	committed time.Time       // of the source; of the package index if the build does not tell
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
	if err := checkARMv6(file); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%s was not built by Go: %w", file, err)
	}
	b.binary = goProgram{content: content, version: versionOf(info), golang: info.GoVersion, committed: b.lock.Dated}
	for _, s := range info.Settings {
		if at, err := time.Parse(time.RFC3339, s.Value); err == nil && s.Key == "vcs.time" {
			b.binary.committed = at
		}
	}
	b.binary.modules = append([]*debug.Module{&info.Main}, info.Deps...)
	return nil
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
func checkARMv6(file string) error {
	f, err := elf.Open(file)
	if err != nil {
		return fmt.Errorf("this is not a Linux program: %w", err)
	}
	defer f.Close()
	if f.Machine != elf.EM_ARM || f.Class != elf.ELFCLASS32 {
		return fmt.Errorf("this is a program for %v: build it with GOOS=linux GOARCH=arm GOARM=6", f.Machine)
	}
	if f.Section(".interp") != nil {
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
