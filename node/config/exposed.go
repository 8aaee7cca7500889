package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// DescribeExposure returns a sentence if a file or folder with secrets is not its user's alone: others can read it, own it, or
// put another in its place. "" = it is, or does not exist. isOpen: everybody can read it.
func DescribeExposure(path string) (text string, isOpen bool) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() && !info.IsDir() || lacksModes(path) {
		return "", false // a file that does not exist is read by nobody, and a pipe by one
	}
	folder, err := os.Stat(filepath.Dir(path))
	switch mode, owner := info.Mode().Perm(), ownerOf(info); {
	case mode&0o077 != 0:
		isOpen = mode&0o007 != 0
		who := map[bool]string{false: "its group", true: "everybody on this machine"}[isOpen]
		text = fmt.Sprintf("%s can read %s, which has secrets (mode %04o): run chmod go= %s", who, path, mode, path)
	case owner > 0 && owner != os.Getuid():
		text = fmt.Sprintf("another user (%d) owns %s, which has secrets, and can change it: run chown %d %s", owner, path, os.Getuid(), path)
	case err == nil && folder.Mode().Perm()&0o002 != 0 && folder.Mode()&os.ModeSticky == 0:
		text = fmt.Sprintf("everybody on this machine can replace %s, which has secrets: run chmod o-w %s", path, filepath.Dir(path))
	}
	return text, isOpen
}

// FindExposed returns a sentence for each of a board's files with secrets, file with the settings
// among them, that is exposed. refusal is why it must not start: all can read a key.
func (c *Config) FindExposed(file string) (all []string, refusal error) {
	for i, path := range append([]string{c.Orders.Directory, c.TLS.ACMEStorage, file}, c.TLS.KeyFiles...) {
		text, isOpen := DescribeExposure(path)
		if text != "" {
			all = append(all, text)
		}
		if isKey := i >= 2; isKey && isOpen {
			refusal = errors.Join(refusal, errors.New("a board does not start with a key that others know: "+text))
		}
	}
	return all, refusal
}
