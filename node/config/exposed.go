package config

import (
	"errors"
	"fmt"
	"os"
)

// FindExposed returns a sentence for each of a board's files with secrets, file with the settings
// among them, that other users can read. refusal is why it must not start: all can read a key.
func (c *Config) FindExposed(file string) (all []string, refusal error) {
	for i, path := range append([]string{c.Orders.Directory, c.TLS.ACMEStorage, file}, c.TLS.KeyFiles...) {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm()&0o077 == 0 || lacksModes(path) {
			continue // a file that does not exist is read by nobody
		}
		isKey, toAll := i >= 2, info.Mode()&0o007 != 0
		who := map[bool]string{false: "its group", true: "everybody on this machine"}[toAll]
		text := fmt.Sprintf("%s can read %s, which has secrets (mode %04o): run chmod go= %s", who, path, info.Mode().Perm(), path)
		all = append(all, text)
		if isKey && toAll {
			refusal = errors.Join(refusal, errors.New("a board does not start with a key that others know: "+text))
		}
	}
	return all, refusal
}
