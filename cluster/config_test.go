package cluster

import (
	"errors"
	"strings"
	"testing"
)

func TestStartRejectsBadConfigs(t *testing.T) {
	for name, change := range map[string]func(*MembersConfig){
		"no name":        func(c *MembersConfig) { c.Name = "" },
		"long name":      func(c *MembersConfig) { c.Name = strings.Repeat("x", MaxName+1) },
		"odd name":       func(c *MembersConfig) { c.Name = "a/b" },
		"no key":         func(c *MembersConfig) { c.Keys = nil },
		"short key":      func(c *MembersConfig) { c.Keys = append(c.Keys, []byte("short")) },
		"bind to a name": func(c *MembersConfig) { c.Bind = "localhost:7946" },
		"advertise any":  func(c *MembersConfig) { c.Advertise = "0.0.0.0" },
		"advertise name": func(c *MembersConfig) { c.Advertise = "pi.example:7946" },
		"timing":         func(c *MembersConfig) { c.Timing.ProbeTimeout = c.Timing.ProbeInterval },
		"long URL":       func(c *MembersConfig) { c.Meta.HTTPURL = strings.Repeat("x", MaxURL+1) },
	} {
		cfg, _ := testConfig(t, "a")
		change(&cfg)
		m, err := Start(t.Context(), cfg)
		if err == nil {
			m.Close()
		}
		if !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v, want an ErrConfig", name, err)
		}
	}
}
