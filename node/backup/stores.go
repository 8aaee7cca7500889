package backup

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"bramble/cluster/durable"
)

const (
	// dialTimeout limits how long a connection to the server may take, and responseTimeout
	// the wait for its response after the last byte was sent.
	dialTimeout     = 10 * time.Second
	responseTimeout = 2 * time.Minute
	removeTimeout   = 30 * time.Second // of the removal of a backup that could not be read back
	// minPutBytes is the part of a backup that must be there before it is sent, or all of it:
	// more than what comes before the order book's first bytes.
	minPutBytes = 32 << 10
)

// webStore is a Store on a server that accepts PUT, such as WebDAV or an object store.
type webStore struct {
	base           string // without a slash at the end
	user, password string
	client         *http.Client
	needsLength    atomic.Bool // the server has refused a request without a length
}

func newWebStore(base, user, password string) *webStore {
	return &webStore{base: strings.TrimSuffix(base, "/"), user: user, password: password, client: &http.Client{
		// The password is for this server alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:   dialTimeout,
			ResponseHeaderTimeout: responseTimeout,
			DisableCompression:    true,
			DisableKeepAlives:     true,
		},
	}}
}

// Put sends the backup while write writes it, so its length is not known before (a chunked
// request), and gets it back. If the server needs the length (411), a temporary file has the
// backup first; the card is spared that otherwise. A name that exists is not replaced.
func (w *webStore) Put(ctx context.Context, name string, write func(io.Writer) error, verify func(io.Reader) error) error {
	// A failed PUT is removed below, and must not take an older file of the name with it.
	there, err := w.send(ctx, http.MethodHead, name, nil)
	if err != nil {
		return err
	}
	there.Body.Close()
	if there.StatusCode == http.StatusOK {
		return fmt.Errorf("%s has a file %s already", w.base, name)
	}
	put := w.putStream
	if w.needsLength.Load() {
		put = w.putFile
	}
	resp, writeErr, err := put(ctx, name, write)
	if err == nil && resp != nil && resp.StatusCode == http.StatusLengthRequired && !w.needsLength.Swap(true) {
		resp, writeErr, err = w.putFile(ctx, name, write)
	}
	switch {
	case err == nil && resp == nil: // nothing was sent
		return writeErr
	case err != nil:
		return errors.Join(err, w.remove(ctx, name))
	case resp.StatusCode == http.StatusPreconditionFailed:
		return fmt.Errorf("%s has a file %s already", w.base, name)
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%s refuses the backup (%s): check user and password under [backup]", w.base, resp.Status)
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return fmt.Errorf("%s refuses the backup (%s)", w.base, resp.Status)
	case writeErr != nil:
		return errors.Join(writeErr, w.remove(ctx, name))
	}
	if err := w.readBack(ctx, name, verify); err != nil {
		return errors.Join(fmt.Errorf("reading %s back from %s: %w", name, w.base, err), w.remove(ctx, name))
	}
	return nil
}

// putStream sends what write writes while it writes. The response's body is closed; without one and
// an err nothing was sent.
func (w *webStore) putStream(ctx context.Context, name string, write func(io.Writer) error) (resp *http.Response, writeErr, err error) {
	body, in := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := write(in)
		in.CloseWithError(err)
		written <- err
	}()
	// A source that fails at once, as without a majority, sends nothing: a server may make the
	// file of a request that was broken off only after it was told to remove it.
	begun := bufio.NewReaderSize(body, minPutBytes)
	if _, err := begun.Peek(minPutBytes); err != nil && !errors.Is(err, io.EOF) {
		return nil, <-written, nil
	}
	resp, err = w.send(ctx, http.MethodPut, name, begun)
	body.CloseWithError(errors.New("the server stopped reading"))
	writeErr = <-written
	if err == nil {
		resp.Body.Close()
	}
	return resp, writeErr, err
}

// putFile is putStream with a length, by way of a temporary file.
func (w *webStore) putFile(ctx context.Context, name string, write func(io.Writer) error) (resp *http.Response, writeErr, err error) {
	file, err := os.CreateTemp("", "bramble-backup-")
	if err != nil {
		return nil, fmt.Errorf("a temporary file, because the server needs the backup's length: %w", err), nil
	}
	defer os.Remove(file.Name())
	defer file.Close()
	if err := write(file); err != nil {
		return nil, fmt.Errorf("a temporary file, because the server needs the backup's length: %w", err), nil
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("reading the temporary file: %w", err), nil
	}
	if resp, err = w.send(ctx, http.MethodPut, name, file); err == nil {
		resp.Body.Close()
	}
	return resp, nil, err
}

func (w *webStore) readBack(ctx context.Context, name string, verify func(io.Reader) error) error {
	resp, err := w.send(ctx, http.MethodGet, name, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answers %s", resp.Status)
	}
	return verify(resp.Body)
}

// remove removes a backup that failed, if the server has it. Its own context outlives one
// that has ended.
func (w *webStore) remove(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	resp, err := w.send(ctx, http.MethodDelete, name, nil)
	if err != nil {
		return fmt.Errorf("removing %s, which is incomplete: %w", name, err)
	}
	resp.Body.Close()
	return nil
}

func (w *webStore) send(ctx context.Context, method, name string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, w.base+"/"+name, body)
	if err != nil {
		return nil, fmt.Errorf("the address of the backup: %w", err)
	}
	if w.user != "" || w.password != "" {
		r.SetBasicAuth(w.user, w.password)
	}
	if file, ok := body.(*os.File); ok {
		info, err := file.Stat()
		if err != nil {
			return nil, fmt.Errorf("the backup's length: %w", err)
		}
		r.ContentLength = info.Size()
	}
	if method == http.MethodPut {
		r.Header.Set("If-None-Match", "*")
		r.Header.Set("Content-Type", "application/octet-stream")
	}
	resp, err := w.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("the server of the backups: %w", err)
	}
	return resp, nil
}

const partSuffix = ".part" // ends the name of a file that is not verified yet

// Folder is a Store in a folder, such as a mounted USB stick.
type Folder string

// Put writes a file under another name, syncs it, reads it back, and gives it its name only
// then. So a file with the name of a backup is one, also on FAT after a power cut.
func (f Folder) Put(_ context.Context, name string, write func(io.Writer) error, verify func(io.Reader) error) (err error) {
	path := filepath.Join(string(f), name)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists already; name a file that does not exist yet", path)
	}
	part := path + partSuffix
	// Names and addresses: for the owner alone, even though they are encrypted.
	file, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("creating the backup: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close(), os.Remove(part))
		}
	}()
	out := bufio.NewWriterSize(file, frameSize)
	if err := write(out); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := errors.Join(out.Flush(), file.Sync()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	dropFileCache(file)
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading %s back: %w", path, err)
	}
	if err := verify(file); err != nil {
		return fmt.Errorf("reading %s back: %w", path, err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("naming %s: %w", path, err)
	}
	if err := durable.SyncDir(string(f)); err != nil {
		return fmt.Errorf("naming %s: %w", path, err)
	}
	return nil
}

// list returns the names of the backups that begin with prefix, oldest first, and removes
// unfinished ones that a power cut left. Their names sort by time.
func (f Folder) list(prefix string) ([]string, error) {
	all, err := os.ReadDir(string(f))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range all {
		switch name := e.Name(); {
		case !strings.HasPrefix(name, prefix):
		case strings.HasSuffix(name, nameSuffix+partSuffix):
			if err := os.Remove(filepath.Join(string(f), name)); err != nil {
				return nil, err
			}
		case strings.HasSuffix(name, nameSuffix):
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// prune removes all but the newest backups that begin with prefix.
func (f Folder) prune(prefix string, keep int) error {
	names, err := f.list(prefix)
	if err != nil {
		return fmt.Errorf("removing old backups: %w", err)
	}
	for _, name := range names[:max(0, len(names)-keep)] {
		if err := os.Remove(filepath.Join(string(f), name)); err != nil {
			return fmt.Errorf("removing old backups: %w", err)
		}
	}
	return nil
}
