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
)

// module is the Go module that the card's program is built of.
const module = "bramble"

// goProgram is Bramble as it runs on the card.
type goProgram struct {
	content []byte
	version string
	modules []*debug.Module // what is linked into it, its own first
	golang  string          // the compiler, such as "go1.26.8"
}

// loadProgram builds the card's program, or takes the one that the options name.
func (p *builder) loadProgram(ctx context.Context) error {
	file := p.options.Binary
	if file == "" {
		p.options.progressf("building Bramble for the first boards")
		file = filepath.Join(p.work, "bramble")
		if err := p.compileProgram(ctx, file); err != nil {
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
		return fmt.Errorf("%s is no program built by Go: %w", file, err)
	}
	p.binary = goProgram{content: content, version: versionOf(info), golang: info.GoVersion}
	p.binary.modules = append([]*debug.Module{&info.Main}, info.Deps...)
	return nil
}

// compileProgram builds the program from the source in the current folder.
func (p *builder) compileProgram(ctx context.Context, file string) error {
	env := append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm", "GOARM=6", "GOFLAGS=-mod=readonly")
	out, err := p.tools.runWithEnv(ctx, env, "go", "list", "-m")
	if err != nil || strings.TrimSpace(string(out)) != module {
		return fmt.Errorf("the current folder is not Bramble's source: run this there, or give a built program with --binary")
	}
	build := func(stamp string) error {
		_, err := p.tools.runWithEnv(ctx, env, "go", "build", "-trimpath", "-buildvcs="+stamp, "-ldflags=-s -w", "-o", file, module+"/cmd/bramble")
		return err
	}
	err = build("auto")
	if err != nil && strings.Contains(err.Error(), "-buildvcs=false") { // the folder is another user's, and git declines
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
		return fmt.Errorf("this is no Linux program: %w", err)
	}
	defer f.Close()
	if f.Machine != elf.EM_ARM || f.Class != elf.ELFCLASS32 {
		return fmt.Errorf("this is a program for %v: build it with GOOS=linux GOARCH=arm GOARM=6", f.Machine)
	}
	if f.Section(".interp") != nil {
		return fmt.Errorf("this program wants libraries that the card lacks: build it with CGO_ENABLED=0")
	}
	return nil
}

// versionOf is the version that the program will say it is, as "bramble
// version" has it.
func versionOf(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return "devel"
}
