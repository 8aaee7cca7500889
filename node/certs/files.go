package certs

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// file is a certificate that somebody else cares for.
type file struct {
	pair Pair
	cert atomic.Pointer[tls.Certificate]
	seen [2]stamp // when it was read last, well or not; belongs to who reads it
}

// stamp tells whether a file has changed.
type stamp struct {
	at   time.Time
	size int64
}

// stamps looks at both files.
func (f *file) stamps() (now [2]stamp, err error) {
	for i, path := range [...]string{f.pair.Certificate, f.pair.Key} {
		info, err := os.Stat(path)
		if err != nil {
			return now, fmt.Errorf("certificate: %w", err)
		}
		now[i] = stamp{info.ModTime(), info.Size()}
	}
	return now, nil
}

// read reads both files.
func (f *file) read() error {
	now, err := f.stamps()
	f.seen = now
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(f.pair.Certificate, f.pair.Key)
	switch {
	case err != nil:
		return fmt.Errorf("certificate %s with key %s: %w", f.pair.Certificate, f.pair.Key, err)
	case len(cert.Leaf.DNSNames) == 0:
		return fmt.Errorf("certificate %s names no host (subject alternative name): browsers take none such, get another", f.pair.Certificate)
	}
	f.cert.Store(&cert)
	return nil
}

// readIfChanged reads files that have changed since they were read last. If they
// are not well the old certificate stays.
func (f *file) readIfChanged() (did bool, err error) {
	if now, err := f.stamps(); now == f.seen {
		return false, nil // an error has been told when they went
	} else if err != nil {
		f.seen = now
		return false, err
	}
	if err := f.read(); err != nil {
		return false, err
	}
	return true, nil
}
