package admission

import (
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	// formBurst is the burst of forms, in seconds of their rate: with 300 a minute a hundred pupils may
	// press their buttons at once.
	formBurst = 20
	// FormRetry is when a refused form should come again: when a burst is due again.
	FormRetry = formBurst * time.Second
	// UnaskedForms is the number of forms of a network that a board accepts without asking the board that
	// counts them for the rack, and one more each minute: what one household sends.
	UnaskedForms = 4
	// pagesPerForm is the number of refusals with a page that holds what was typed, for each form that is
	// accepted: ten times a hundred pupils. A script that sends more gets less.
	pagesPerForm = 10
)

// FormRates are limits in forms per minute; 0: no limit.
type FormRates struct {
	Client  int              // from one address of IPv4, or one /64
	Network int              // from one /24, or one /48
	Now     func() time.Time // nil: time.Now
}

// FormLimits limit the forms of clients and of their networks. One board counts those of a network for the
// whole rack; the others ask it, beyond UnaskedForms.
type FormLimits struct {
	counted, unasked, pages *ClientLimits
	refused                 atomic.Int64
}

// NewFormLimits makes limits.
func NewFormLimits(rates FormRates) *FormLimits {
	limit := func(perMinute, network, times int) *ClientLimits {
		l := NewClientLimits(Rates{Now: rates.Now})
		l.clientRequests, l.networkRequests = newFormLimiter(perMinute*times, 0), newFormLimiter(network*times, 0)
		return l
	}
	f := &FormLimits{counted: limit(rates.Client, rates.Network, 1), pages: limit(rates.Client, rates.Network, pagesPerForm)}
	if f.unasked = NewClientLimits(Rates{Now: rates.Now}); rates.Client+rates.Network > 0 {
		f.unasked.networkRequests = newFormLimiter(1, UnaskedForms)
	}
	return f
}

// newFormLimiter makes a limiter with a burst, 0 for that of formBurst.
func newFormLimiter(perMinute, burst int) *rateLimiter {
	if perMinute <= 0 {
		return nil
	}
	cost := max(60*1000*rateUnits/uint32(perMinute), 1)
	if burst == 0 {
		return &rateLimiter{cost: cost, burst: max(formBurst*1000*rateUnits, cost)}
	}
	return &rateLimiter{cost: cost, burst: uint32(burst) * cost}
}

// FormNetworks returns the client and the network that a form from an address counts for. Who has one address of
// IPv6 has a /64, and often a /48.
func FormNetworks(address netip.Addr) (client, network netip.Prefix) {
	address = address.Unmap().WithZone("")
	bits := [2]int{64, 48}
	if address.Is4() {
		bits = [2]int{32, 24}
	}
	return netip.PrefixFrom(address, bits[0]).Masked(), netip.PrefixFrom(address, bits[1]).Masked()
}

// Allow counts a form for the rack, and reports whether it is within the limits.
func (f *FormLimits) Allow(address netip.Addr) bool { return f.counted.allowForm(address) }

// AllowUnasked counts a form, and reports whether this board may accept it alone.
func (f *FormLimits) AllowUnasked(address netip.Addr) bool { return f.unasked.allowForm(address) }

// AllowPage counts a refused form, and reports whether it gets the page that holds what was typed.
func (f *FormLimits) AllowPage(address netip.Addr) bool {
	f.refused.Add(1)
	return f.pages.allowForm(address)
}

// Refused returns the number of forms that AllowPage has counted.
func (f *FormLimits) Refused() int64 { return f.refused.Load() }

// allowForm is AllowRequest for the networks of forms.
func (l *ClientLimits) allowForm(address netip.Addr) bool {
	client, network := FormNetworks(address)
	return l.AllowRequest(ClientKey{address: l.hashOf(client.Addr()), network: l.hashOf(network.Addr())})
}
