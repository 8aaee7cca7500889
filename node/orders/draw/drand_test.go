package draw

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// round1000 is what the beacon published for its round 1,000, on 23 August 2023.
const round1000 = "drand quicknet 1000 b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39"

func TestGenuine(t *testing.T) {
	for name, tt := range map[string]struct {
		public Public
		want   error
	}{
		"the beacon's":             {Public{Drand, round1000}, nil},
		"of another round":         {Public{Drand, strings.Replace(round1000, "1000", "1001", 1)}, ErrPublic},
		"changed in one bit":       {Public{Drand, strings.Replace(round1000, "5e39", "5e38", 1)}, ErrPublic},
		"no point of the curve":    {Public{Drand, "drand quicknet 1000 " + strings.Repeat("00", 48)}, ErrPublic},
		"not written as it should": {Public{Drand, "drand quicknet 1000"}, ErrPublic},
		"dice":                     {Public{Dice, "3 6 1 1 5 2 4 6 6 1"}, nil},
	} {
		if err := tt.public.Genuine(); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

func TestVerifyChecksTheRound(t *testing.T) {
	made := time.Unix(quicknetGenesis+999*quicknetPeriod, 0)
	f := File{
		Version: 1, Closes: made.Add(-time.Second), Stock: 1, Secret: strings.Repeat("00", 32),
		Public: Public{Drand, round1000}, Entries: []Entry{}, Winners: []string{}, Losers: []string{},
	}
	f.Commitment = commitmentOf(f.Secret)
	if err := Verify(f); err != nil {
		t.Errorf("a round made after the close: %v", err)
	}
	f.Closes = made
	if err := Verify(f); !errors.Is(err, ErrFile) {
		t.Errorf("a round that was known at the close: %v", err)
	}
	f.Closes = made.Add(-time.Hour)
	f.Public.Text = strings.Replace(round1000, "1000", "999", 1)
	if err := Verify(f); !errors.Is(err, ErrFile) {
		t.Errorf("a made-up round: %v", err)
	}
}
