package images

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tool is a program that the build needs, and the Debian package that has it.
type tool struct{ name, debian string }

// buildTools returns the programs that an image is built with.
func buildTools(o Options) []tool {
	need := []tool{
		{aptHelper, "apt"},
		{aptGet, "apt"},
		{"dpkg-deb", "dpkg"},
		{"depmod", "kmod"},
		{"xz", "xz-utils"},
		{"mkfs.vfat", "dosfstools"},
		{"mcopy", "mtools"},
		{"mmd", "mtools"},
		{"mke2fs", "e2fsprogs"},
	}
	if o.Binary == "" {
		need = append(need, tool{"go", ""})
	}
	return need
}

// aptHelper downloads like apt: with the system's own proxies and passwords. aptGet tells apt's sources,
// and reads a mirror's index.
const aptHelper, aptGet = "apt-helper", "apt-get"

// asRoot is apt's option without which root's apt would switch to an unprivileged user, who cannot
// write to the folders here.
const asRoot = "APT::Sandbox::User=root"

// extraToolFolders returns folders of programs that a user's PATH may lack.
func extraToolFolders() []string { return []string{"/usr/sbin", "/sbin", "/usr/lib/apt"} }

// toolbox runs the programs that were found. Each runs in the same environment, so
// that its output depends neither on the time, the time zone, the language, nor the
// user's settings.
type toolbox struct {
	at    map[string]string
	epoch time.Time // the date of the card's files
	home  string
}

// findTools looks for programs. One error lists all that are missing, with the command
// that installs them.
func findTools(need ...tool) (toolbox, error) {
	found := toolbox{at: map[string]string{}}
	var names, packages []string
	for _, t := range need {
		for _, dir := range append([]string{""}, extraToolFolders()...) { // "": those in PATH
			if file, err := exec.LookPath(filepath.Join(dir, t.name)); err == nil {
				found.at[t.name] = file
				break
			}
		}
		if found.at[t.name] != "" {
			continue
		}
		names = append(names, t.name)
		if t.debian != "" && !slices.Contains(packages, t.debian) {
			packages = append(packages, t.debian)
		}
	}
	if len(names) == 0 {
		return found, nil
	}
	var todo []string
	if len(packages) > 0 {
		todo = append(todo, "run: sudo apt-get install "+strings.Join(packages, " "))
	}
	if slices.Contains(names, "go") {
		todo = append(todo, "get Go from go.dev/dl, or name a built program with --binary")
	}
	return toolbox{}, fmt.Errorf("%w: %s; %s", ErrMissingTools, strings.Join(names, ", "), strings.Join(todo, "; "))
}

// maxComplaint bounds the part of a program's error output that an error repeats, in
// bytes.
const maxComplaint = 600

// run runs one program and returns its output. The error repeats its error output.
func (t toolbox) run(ctx context.Context, name string, args ...string) ([]byte, error) {
	return t.runWithEnv(ctx, t.cleanEnv(), name, args...)
}

// runWithEnv is run with other environment variables.
func (t toolbox) runWithEnv(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, t.at[name], args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &complaint, env
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		text := bytes.TrimSpace(complaint.Bytes())
		text = text[max(0, len(text)-maxComplaint):]
		return nil, fmt.Errorf("%s: %w: %s", name, err, text)
	}
	return out.Bytes(), nil
}

// cleanEnv returns an environment without the user's settings. MKE2FS_CONFIG names a
// missing file, so that mke2fs uses its built-in defaults.
func (t toolbox) cleanEnv() []string {
	seconds := strconv.FormatInt(t.epoch.Unix(), 10)
	return []string{
		"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC", "HOME=" + t.home,
		"SOURCE_DATE_EPOCH=" + seconds, "E2FSPROGS_FAKE_TIME=" + seconds,
		"MKE2FS_CONFIG=" + filepath.Join(t.home, "none"), "MTOOLSRC=/dev/null", "MTOOLS_SKIP_CHECK=1",
	}
}
