package certs

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"time"
)

// ticketPeriod is how long tickets are made with one key: a visitor who comes
// back the same day is known again.
const ticketPeriod = 12 * time.Hour

func ticketPeriodAt(now time.Time) int64 { return now.Unix() / int64(ticketPeriod/time.Second) }

// deriveTicketKeys are the keys of session tickets in a period: for each rack key those
// of this period, the one before and the one after, for a board whose clock is
// ahead. The first is for new tickets. All boards of a rack derive the same.
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

// RenewTicketKeys sets the keys of session tickets if a period has begun. Run calls it.
func (k *Manager) RenewTicketKeys() {
	period := ticketPeriodAt(k.cfg.Now())
	k.mu.Lock()
	same := k.hasTicketKeys && k.ticketPeriod == period
	k.ticketPeriod, k.hasTicketKeys = period, true
	k.mu.Unlock()
	if same {
		return
	}
	keys, err := deriveTicketKeys(k.cfg.RackKeys, period)
	if err != nil {
		k.cfg.Logger.Error("session tickets keep their keys", "error", err)
		return
	}
	k.cfg.SetTicketKeys(keys)
}
