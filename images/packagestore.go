package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// PackageSource specifies where packages come from.
type PackageSource struct {
	Mirror   string // URL of a Debian mirror; "" = the one of the system's apt
	Suite    string // "" = the lock's
	Packages string // folder that caches packages; "" = the user's cache
	Lock     string // file of pinned packages; "" = the program's own
}

// ErrPackageGone matches the error when no mirror has a pinned package any more.
var ErrPackageGone = errors.New("the mirror no longer has it")

// withCache names the folder for packages, if none is named.
func (p PackageSource) withCache() (PackageSource, error) {
	if p.Packages != "" {
		return p, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return p, fmt.Errorf("%w; name a folder for packages with --packages", err)
	}
	p.Packages = filepath.Join(cache, "bramble", "packages")
	return p, nil
}

// getPackage returns the file of a package in the folder, and whether it was downloaded. Its hash
// is checked.
func (p PackageSource) getPackage(ctx context.Context, t toolbox, pkg Package) (file string, fresh bool, err error) {
	file = filepath.Join(p.Packages, filepath.Base(pkg.Path))
	switch sum, err := hashFile(file); {
	case err == nil && sum == pkg.SHA256:
		return file, false, nil
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return "", false, fmt.Errorf("reading %s: %w", pkg.Name, err)
	}
	if err := os.MkdirAll(p.Packages, 0o755); err != nil {
		return "", false, fmt.Errorf("creating the folder for packages: %w", err)
	}
	mirrors, err := p.listMirrors(ctx, t)
	if err != nil {
		return "", false, err
	}
	var failed error
	for _, m := range mirrors {
		if failed = downloadFile(ctx, t, m+"/"+pkg.Path, file, pkg.SHA256); failed == nil {
			return file, true, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	if errors.Is(failed, ErrPackageGone) {
		failed = fmt.Errorf("%w: run \"bramble image --relock --lock FILE\" to pin the mirror's versions, then build with that --lock", failed)
	}
	return "", false, fmt.Errorf("%s %s: %w", pkg.Name, pkg.Version, failed)
}

// listMirrors returns the mirrors to try, without trailing slashes.
func (p PackageSource) listMirrors(ctx context.Context, t toolbox) ([]string, error) {
	if p.Mirror != "" {
		return []string{strings.TrimRight(p.Mirror, "/")}, nil
	}
	found, err := systemMirrors(ctx, t, p.Suite)
	if err != nil || len(found) == 0 {
		return nil, errors.Join(errors.New("the system's apt names no Debian mirror: name one with --mirror URL"), err)
	}
	return found, nil
}

// downloadFile fetches a URL with apt's helper, which uses apt's proxies and
// passwords. It never leaves a file with a wrong hash under its name.
func downloadFile(ctx context.Context, t toolbox, url, file, sum string) error {
	part := file + ".part"
	defer func() {
		os.Remove(part)
		os.Remove(part + ".FAILED")
	}()
	// In the user's own environment, which may name a proxy.
	if _, err := t.runWithEnv(ctx, append(os.Environ(), "LC_ALL=C"), aptHelper, "-o", asRoot, "download-file", url, part, "SHA256:"+sum); err != nil {
		if _, exited := errors.AsType[*exec.ExitError](err); exited && strings.Contains(err.Error(), "404  Not Found") {
			return fmt.Errorf("%w (%s)", ErrPackageGone, url)
		}
		return fmt.Errorf("downloading %s: %w", url, err)
	}
	if got, err := hashFile(part); err != nil || got != sum {
		return fmt.Errorf("%s does not have the pinned hash", url)
	}
	return os.Rename(part, file)
}
