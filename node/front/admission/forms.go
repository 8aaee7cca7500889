package admission

import (
	"hash/maphash"
	"net/netip"
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
	// formsPerMail is the number of forms for each one that may cause a mail with a link, to an address that its sender chose.
	formsPerMail = 5
	// HeldForms is the number of unconfirmed forms of a client in an hour for which units are held; HeldForms times
	// networkShare is that of a network.
	HeldForms = 20
	// ToldForms is the number of forms of a client in an hour that may learn that somebody is known to the shop.
	ToldForms = 20
	// AboutForms is the number of forms of a client in an hour about one subject: a street, or one person's e-mail address.
	AboutForms = 6
	// networkShare is the number of clients at their limit that a network may have.
	networkShare = 3
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

// FormUse is what forms are counted for.
type FormUse int

// The uses of forms.
const (
	FormSent   FormUse = iota // any form
	FormMailed                // one that may cause a mail to the address in it
	FormHeld                  // one for which units are held before it is confirmed
	FormTold                  // one whose answer told something about somebody else
	FormAbout                 // one about a subject
	FormUses                  // their number
)

// FormLimits limit the forms of clients and of their networks.
type FormLimits struct {
	Counted [FormUses]*ClientLimits // by use: one board counts all forms of a network for the rack; the others ask it
	Unasked *ClientLimits           // what a board accepts without asking
	Pages   *ClientLimits           // refused forms whose reply holds what was typed
}

// NewFormLimits makes limits.
func NewFormLimits(rates FormRates) *FormLimits {
	limit := func(client, network *rateLimiter) *ClientLimits {
		l := NewClientLimits(Rates{Now: rates.Now})
		l.clientRequests, l.networkRequests = client, network
		return l
	}
	burst := func(perMinute int) *rateLimiter {
		return newRateLimiter(perMinute, time.Minute, perMinute*formBurst/60)
	}
	mailed := func(perMinute int) *rateLimiter { // as many at once as other forms: a school's pupils press together
		return newRateLimiter((perMinute+formsPerMail-1)/formsPerMail, time.Minute, perMinute*formBurst/60)
	}
	hourly := func(n int) *rateLimiter { return newRateLimiter(n, time.Hour, n) } // all may come at once
	return &FormLimits{
		Counted: [FormUses]*ClientLimits{
			FormSent:   limit(burst(rates.Client), burst(rates.Network)),
			FormMailed: limit(mailed(rates.Client), mailed(rates.Network)),
			FormHeld:   limit(hourly(HeldForms), hourly(networkShare*HeldForms)),
			FormTold:   limit(hourly(ToldForms), hourly(networkShare*ToldForms)),
			FormAbout:  limit(hourly(AboutForms).withCells(subjectCells), hourly(networkShare*AboutForms).withCells(subjectCells)),
		},
		Unasked: limit(nil, newRateLimiter(min(rates.Client+rates.Network, 1), time.Minute, UnaskedForms)),
		Pages:   limit(burst(rates.Client*pagesPerForm), burst(rates.Network*pagesPerForm)),
	}
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

// AllowForm is AllowRequest for the networks of forms, for each subject of a form if there are any.
func (l *ClientLimits) AllowForm(address netip.Addr, subjects ...string) bool {
	if len(subjects) == 0 {
		return l.AllowRequest(l.formKey(address, ""))
	}
	allowed := true
	for _, subject := range subjects {
		allowed = l.AllowRequest(l.formKey(address, subject)) && allowed
	}
	return allowed
}

// HasSpent reports whether AllowForm would refuse a form, and counts none.
func (l *ClientLimits) HasSpent(address netip.Addr) bool {
	key, now := l.formKey(address, ""), l.nowUnits()
	return l.clientRequests.isSpent(key.address, now) || l.networkRequests.isSpent(key.network, now)
}

func (l *ClientLimits) formKey(address netip.Addr, subject string) ClientKey {
	client, network := FormNetworks(address)
	hash := func(a netip.Addr) uint32 {
		return uint32(maphash.Comparable(l.seed, struct {
			netip.Addr
			subject string
		}{a, subject}))
	}
	return ClientKey{address: hash(client.Addr()), network: hash(network.Addr())}
}
