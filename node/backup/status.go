package backup

import (
	"fmt"
	"time"
)

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
