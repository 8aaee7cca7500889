package certs

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"time"
)

// ticketPeriod is the time for which tickets are made with one key: a client that returns
// on the same day resumes its session.
const ticketPeriod = 12 * time.Hour

func ticketPeriodAt(now time.Time) int64 { return now.Unix() / int64(ticketPeriod/time.Second) }

// deriveTicketKeys returns the keys of session tickets in a period: for each rack key
// those of this period, the previous one, and the next one, for a board whose clock is
// ahead. The first key is for new tickets. All boards of a rack derive the same keys.
func deriveTicketKeys(rackKeys [][]byte, period int64) ([][32]byte, error) {
	var keys [][32]byte
	for _, rackKey := range rackKeys {
		for _, p := range [...]int64{period, period - 1, period + 1} {
			key, err := hkdf.Key(sha256.New, rackKey, nil, fmt.Sprintf("bramble session tickets v1 %d", p), 32)
			if err != nil {
				return nil, fmt.Errorf("deriving the keys of session tickets: %w", err)
			}
			keys = append(keys, [32]byte(key))
		}
	}
	return keys, nil
}

// RenewTicketKeys sets the keys of session tickets if a new period has begun. Run calls it.
func (m *Manager) RenewTicketKeys() {
	period := ticketPeriodAt(m.cfg.Now())
	m.mu.Lock()
	current := m.hasTicketKeys && m.ticketPeriod == period
	m.ticketPeriod, m.hasTicketKeys = period, true
	m.mu.Unlock()
	if current {
		return
	}
	keys, err := deriveTicketKeys(m.cfg.RackKeys, period)
	if err != nil {
		m.cfg.Logger.Error("the keys of session tickets cannot be renewed", "error", err)
		return
	}
	m.cfg.SetTicketKeys(keys)
}
