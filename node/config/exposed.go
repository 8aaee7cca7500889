package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// DescribeExposure returns a sentence if a file or folder with secrets is not its user's alone: others can read it, own it, or
// put another in its place. "" = it is, or does not exist. isOpen: everybody can read it.
func DescribeExposure(path string) (text string, isOpen bool) {
	return describeExposure(path, filepath.Dir(path))
}

// describeExposure is DescribeExposure where home is a folder of the user who should own path: root looks at what is a service's.
func describeExposure(path, home string) (text string, isOpen bool) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() && !info.IsDir() || lacksModes(path) {
		return "", false // a file that does not exist is read by nobody, and a pipe by one
	}
	user := os.Getuid()
	if folder, err := os.Stat(home); err == nil && user == 0 {
		user = ownerOf(folder)
	}
	if text, isOpen = judgeOwner(path, info.Mode().Perm(), ownerOf(info), user); text != "" {
		return text, isOpen
	}
	link, err := filepath.Abs(path)
	target, bad := filepath.EvalSymlinks(link)
	for _, at := range []string{link, target} {
		for folder := filepath.Dir(at); err == nil && bad == nil && folder != at; at, folder = folder, filepath.Dir(folder) {
			if info, err := os.Stat(folder); err == nil && info.Mode().Perm()&0o002 != 0 && info.Mode()&os.ModeSticky == 0 {
				return fmt.Sprintf("everybody on this machine can replace %s, which has secrets: run chmod o-w %s", path, folder), false
			}
		}
	}
	return "", false
}

// judgeOwner is the part of DescribeExposure about a file's mode and owner, who should be user; -1 = unknown.
func judgeOwner(path string, mode fs.FileMode, owner, user int) (text string, isOpen bool) {
	chown := ""
	if owner >= 0 && user >= 0 && owner != user { // else the advice could take the file from the service
		chown = fmt.Sprintf("chown %d %s", user, path)
	}
	switch {
	case mode&0o077 != 0:
		isOpen = mode&0o007 != 0
		who := map[bool]string{false: "its group", true: "everybody on this machine"}[isOpen]
		if chown != "" {
			chown += " && "
		}
		text = fmt.Sprintf("%s can read %s, which has secrets (mode %04o): run %schmod go= %s", who, path, mode, chown, path)
	case owner > 0 && chown != "":
		text = fmt.Sprintf("another user (%d) owns %s, which has secrets, and can change it: run %s", owner, path, chown)
	}
	return text, isOpen
}

// FindExposed returns a sentence for each of a board's files with secrets, file with the settings
// among them, that is exposed. refusal is why it must not start: all can read a key.
func (c *Config) FindExposed(file string) (all []string, refusal error) {
	home := c.Orders.Directory // of the board's user
	if _, err := os.Stat(home); err != nil {
		home = filepath.Dir(file)
	}
	for i, path := range append([]string{c.Orders.Directory, c.TLS.ACMEStorage, file}, c.TLS.KeyFiles...) {
		text, isOpen := describeExposure(path, home)
		if text != "" {
			all = append(all, text)
		}
		if isKey := i >= 2; isKey && isOpen {
			refusal = errors.Join(refusal, errors.New("a board does not start with a key that others know: "+text))
		}
	}
	return all, refusal
}
