package certs

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// certFile is a certificate in files that another program renews.
type certFile struct {
	pair   Pair
	cert   atomic.Pointer[tls.Certificate]
	loaded [2]fileStamp // as of the last read, successful or not; only the reader uses it
}

type fileStamp struct {
	at   time.Time
	size int64
}

func (f *certFile) statFiles() (now [2]fileStamp, err error) {
	for i, path := range [...]string{f.pair.Certificate, f.pair.Key} {
		info, err := os.Stat(path)
		if err != nil {
			return now, fmt.Errorf("certificate: %w; [tls] certificate_files and key_files name the files", err)
		}
		now[i] = fileStamp{info.ModTime(), info.Size()}
	}
	return now, nil
}

func (f *certFile) load() error {
	now, err := f.statFiles()
	f.loaded = now
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(f.pair.Certificate, f.pair.Key)
	switch {
	case err != nil:
		return fmt.Errorf("certificate %s with key %s: %w", f.pair.Certificate, f.pair.Key, err)
	case len(cert.Leaf.DNSNames) == 0:
		return fmt.Errorf("certificate %s names no host (subject alternative name): browsers reject it, get another", f.pair.Certificate)
	}
	f.cert.Store(&cert)
	return nil
}

// reloadIfChanged reads files that have changed since the last read. After an error
// the old certificate stays.
func (f *certFile) reloadIfChanged() (reloaded bool, err error) {
	if now, err := f.statFiles(); now == f.loaded {
		return false, nil // an error was reported when the files disappeared
	} else if err != nil {
		f.loaded = now
		return false, err
	}
	if err := f.load(); err != nil {
		return false, err
	}
	return true, nil
}
