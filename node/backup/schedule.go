package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	checkInterval = 10 * time.Second // between two checks whether a backup is due
	retryDelay    = 5 * time.Minute  // after a backup that failed
	firstDelay    = time.Minute      // before the first backup to a server, so that a rack that starts is not slowed down
	makeTimeout   = 20 * time.Minute // of one backup, its reading back included
	lateFactor    = 2                // intervals without a backup, which a board reports

	namePrefix = "bramble-"
	nameSuffix = ".age"
	nameTime   = "20060102T150405Z"
)

// ErrConfig: the table [backup] has a mistake.
var ErrConfig = errors.New("[backup]")

// ScheduleConfig configures a board's backups.
type ScheduleConfig struct {
	Directory  string // "" = none
	URL        string // http or https; "" = none
	User       string // of URL
	Password   string
	Recipients []string // age's public keys
	Interval   time.Duration
	Keep       int // backups that stay in Directory

	Source Source
	// Ledger returns the ledger's identity, for the names; "" before it is known: then no
	// backup is made.
	Ledger    func() string
	Leading   func() bool      // reports whether this board does what one board does for the rack
	Now       func() time.Time // by the ledger's clock
	OrdersDir string           // folder of the ledger, whose disk must not have the backups, too
	Logger    *slog.Logger
}

// Schedule makes backups at an interval: in a directory on every board that has the key, and
// on a server on the board that leads.
type Schedule struct {
	cfg     ScheduleConfig
	keyring *Keyring
	targets []*target
}

type target struct {
	store      Store
	folder     Folder // "" for a server
	onlyLeader bool

	mu       sync.Mutex // guards all below, except Kind and To of status, which stay
	status   TargetStatus
	since    time.Time // this board is responsible; zero: it is not
	notUntil time.Time // the next try
}

// NewSchedule returns a board's schedule; nil if it has none.
func NewSchedule(cfg ScheduleConfig) (*Schedule, error) {
	if cfg.Directory == "" && cfg.URL == "" {
		return nil, nil
	}
	k, err := NewRecipientsKeyring(cfg.Recipients)
	if err != nil {
		return nil, fmt.Errorf("%w: recipients: %w", ErrConfig, err)
	}
	s := &Schedule{cfg: cfg, keyring: k}
	if cfg.Directory != "" {
		f := Folder(cfg.Directory)
		s.targets = append(s.targets, &target{status: TargetStatus{Kind: "directory", To: cfg.Directory}, store: f, folder: f})
	}
	if cfg.URL != "" {
		store := newWebStore(cfg.URL, cfg.User, cfg.Password)
		s.targets = append(s.targets, &target{status: TargetStatus{Kind: "url", To: cfg.URL}, store: store, onlyLeader: true})
	}
	return s, nil
}

// Run makes backups until ctx ends.
func (s *Schedule) Run(ctx context.Context) {
	ticker := time.Tick(checkInterval)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker:
		}
		for _, t := range s.targets {
			s.runTarget(ctx, t)
		}
	}
}

// runTarget makes a backup if one is due there.
func (s *Schedule) runTarget(ctx context.Context, t *target) {
	now, ledger := s.cfg.Now(), s.cfg.Ledger()
	responsible := ledger != "" && (!t.onlyLeader || s.cfg.Leading())
	if !t.isDue(time.Now(), now, s.cfg.Interval, responsible) {
		return
	}
	prefix := namePrefix + ledger + "-"
	if t.folder != "" {
		if err := s.checkFolder(t.folder); err != nil {
			if t.noteFailure(time.Now(), err, 0) {
				s.cfg.Logger.Error("no backup can be made until its folder is there", "to", t.status.To, "delay", checkInterval, "error", err)
			}
			return
		}
		if newest, name, ok := s.newestIn(t.folder, prefix, now); ok && now.Sub(newest) < s.cfg.Interval {
			size := int64(0)
			if info, err := os.Stat(filepath.Join(string(t.folder), name)); err == nil {
				size = info.Size()
			}
			t.noteSuccess(newest, size, name)
			return
		}
	}
	ctx, cancel := context.WithTimeout(ctx, makeTimeout)
	defer cancel()
	name := prefix + now.UTC().Format(nameTime) + nameSuffix
	began := time.Now()
	h, size, err := s.makeBackup(ctx, t, name, prefix)
	if err != nil {
		t.noteFailure(time.Now(), err, retryDelay)
		s.cfg.Logger.Error("the backup failed; it will be tried again", "to", t.status.To, "delay", retryDelay, "error", err)
		return
	}
	t.noteSuccess(now, size, name)
	s.cfg.Logger.Info("a backup was written and read back", "to", t.status.To, "file", name, "index", h.Index, "orders", h.Orders,
		"bytes", size, "duration", time.Since(began).Round(time.Millisecond))
}

func (s *Schedule) makeBackup(ctx context.Context, t *target, name, prefix string) (h Header, size int64, err error) {
	if t.folder == "" {
		return Make(ctx, t.store, name, s.keyring, s.cfg.Source, nil)
	}
	// Before, too: a full stick has room again once keep was made smaller.
	if err := t.folder.prune(prefix, s.cfg.Keep); err != nil {
		return h, 0, describeDisk(err)
	}
	if h, size, err = Make(ctx, t.store, name, s.keyring, s.cfg.Source, nil); err == nil {
		err = errors.Join(t.folder.prune(prefix, s.cfg.Keep), syncDisk(string(t.folder)))
	}
	return h, size, describeDisk(err)
}

// describeDisk adds to an error of a folder's disk what to do about it.
func describeDisk(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: remove files there, make [backup] keep smaller, or use a larger stick", err)
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EIO):
		return fmt.Errorf("%w: the stick was pulled out, is protected or damaged; check it on a computer, or use another one", err)
	}
	return err
}

// checkFolder returns why backups cannot be written to a folder.
func (s *Schedule) checkFolder(f Folder) error {
	info, err := os.Stat(string(f))
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !info.IsDir():
		return fmt.Errorf("there is no folder %s: plug in and mount the stick, or change [backup] directory", f)
	case err != nil:
		return err
	case onSameDisk(string(f), s.cfg.OrdersDir):
		return fmt.Errorf("%s is on the same disk as the orders, and would be lost with it: mount the stick there, or change [backup] directory", f)
	}
	return nil
}

// newestIn returns the time and the name of the newest backup in a folder. One from the future counts as
// none: the clock was wrong then.
func (s *Schedule) newestIn(f Folder, prefix string, now time.Time) (at time.Time, name string, ok bool) {
	names, err := f.list(prefix)
	if err != nil || len(names) == 0 {
		return time.Time{}, "", false
	}
	name = names[len(names)-1]
	at, err = time.Parse(nameTime, strings.TrimSuffix(strings.TrimPrefix(name, prefix), nameSuffix))
	return at, name, err == nil && !at.After(now)
}

// isDue reports whether a backup is due, by this board's clock (at) and the ledger's (now).
func (t *target) isDue(at, now time.Time, interval time.Duration, responsible bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.status.Responsible = responsible
	if !responsible {
		t.since, t.status.Error = time.Time{}, ""
		return false
	}
	if t.since.IsZero() {
		t.since = at
	}
	if at.Before(t.notUntil) || at.Sub(t.since) < firstDelay && t.onlyLeader {
		return false
	}
	last := t.status.LastSuccess
	return last == nil || last.After(now) || now.Sub(*last) >= interval
}

func (t *target) noteSuccess(at time.Time, size int64, file string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at = at.UTC()
	t.status.LastSuccess, t.status.Bytes, t.status.File, t.status.Error, t.notUntil = &at, size, file, "", time.Time{}
}

// noteFailure notes why there is no backup, and reports whether that is news. retry is the pause
// before the next try; 0, for a folder that is not there and costs nothing to look for, counts once.
func (t *target) noteFailure(at time.Time, err error, retry time.Duration) (isNew bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	if isNew = text != t.status.Error; isNew || retry > 0 {
		t.status.Failures++
	}
	t.status.Error, t.status.retry, t.notUntil = text, max(retry, checkInterval), at.Add(retry)
	return isNew
}

// TargetStatus is how the backups to one destination stand, as this board knows it.
type TargetStatus struct {
	Kind        string        `json:"kind"`                   // directory or url, the key that names it
	To          string        `json:"to"`                     // the folder or the server's address
	Responsible bool          `json:"responsible"`            // this board makes them now
	LastSuccess *time.Time    `json:"last_success,omitempty"` // the ledger's clock; none if not known
	Bytes       int64         `json:"bytes"`                  // of that backup; 0 if not known
	File        string        `json:"file,omitempty"`         // the name of that backup
	Failures    int64         `json:"failures"`               // since this board's start
	Error       string        `json:"error,omitempty"`        // why the newest try failed
	retry       time.Duration // the interval of tries after Error
}

// Status returns how the backups to each destination stand; none if there is no schedule.
func (s *Schedule) Status() []TargetStatus {
	list := []TargetStatus{}
	if s == nil {
		return list
	}
	for _, t := range s.targets {
		t.mu.Lock()
		list = append(list, t.status)
		t.mu.Unlock()
	}
	return list
}

// Notices returns what an operator must know about a board's backups, a sentence each.
func (s *Schedule) Notices(board string) []string {
	var notices []string
	for _, status := range s.Status() {
		if status.Error != "" {
			notices = append(notices, fmt.Sprintf("The backup of %s failed, and is tried again every %v; %s: %s",
				board, status.retry, describeLast(status.LastSuccess), status.Error))
		} else if last := status.LastSuccess; status.Responsible && last != nil && s.cfg.Now().Sub(*last) > lateFactor*s.cfg.Interval {
			notices = append(notices, fmt.Sprintf("The backup of %s to %s is late; %s.", board, status.To, describeLast(last)))
		}
	}
	return notices
}

func describeLast(at *time.Time) string {
	if at == nil {
		return "this board knows of no earlier one"
	}
	return "the last one is of " + at.Format("2006-01-02 15:04 UTC")
}
