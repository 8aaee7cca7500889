package node

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"bramble/node/front/admission"
)

// formCountTimeout limits the wait for the board that counts a client's forms. The link gives up a silent board
// after half a peer timeout; this is for one that is alive and slow.
const formCountTimeout = 2 * time.Second

// boardLimits counts the forms of the shop: see shop.SenderLimits. The owner of the client's network counts for the whole
// rack, so that five boards are one to a script, and one board is the whole shop to a school.
type boardLimits struct{ *board }

// AdmitForm counts a form, and one that may cause a mail.
func (b boardLimits) AdmitForm(r *http.Request, isMailed bool) (admitted, withPage bool) {
	client := b.sites.ClientAddr(r)
	if !client.IsValid() || (b.forms.Unasked.AllowForm(client) || b.countsForm(r.Context(), client, admission.FormSent)) &&
		(!isMailed || b.countsForm(r.Context(), client, admission.FormMailed)) {
		return true, true
	}
	b.formsRefused.Add(1)
	if r.Header.Get("X-Forwarded-For") != "" {
		b.dedupLog.Warn("forms are refused that came through a proxy; if it is yours, name it under [origin] trusted_proxies", "client", client)
	}
	return false, b.forms.Pages.AllowForm(client)
}

// HoldsUnits counts an unconfirmed form and reports whether units may be held for it.
func (b boardLimits) HoldsUnits(r *http.Request) bool {
	client := b.sites.ClientAddr(r)
	return !client.IsValid() || b.countsForm(r.Context(), client, admission.FormHeld)
}

// HashNetwork hashes the network of a form's client.
func (b boardLimits) HashNetwork(r *http.Request) uint16 {
	return hashNetwork(b.orders.service.KeysFor("network of a form")[0], b.sites.ClientAddr(r))
}

// hashNetwork returns 16 bits of a MAC of a client's network: too few to tell from the ledger which network it was, and nobody can
// choose one that shares another's turn. Without a client they are always the same.
func hashNetwork(key []byte, client netip.Addr) uint16 {
	_, network := admission.FormNetworks(client)
	mac := hmac.New(sha256.New, key)
	fmt.Fprint(mac, network)
	return binary.BigEndian.Uint16(mac.Sum(nil))
}

// NoteTold counts a form whose answer tells something about somebody else.
func (b boardLimits) NoteTold(r *http.Request) {
	client := b.sites.ClientAddr(r)
	if client.IsValid() && !b.countsForm(r.Context(), client, admission.FormTold) {
		for b.forms.Counted[admission.FormTold].AllowForm(client) { // the rack has counted more: the next is refused here
		}
	}
}

// AdmitAbout counts a form for what it is about. Other boards get a hash of that, because it is a person's.
func (b boardLimits) AdmitAbout(r *http.Request, subjects ...string) bool {
	client := b.sites.ClientAddr(r)
	hashes := make([]string, len(subjects))
	for i, subject := range subjects {
		sum := sha256.Sum256([]byte(subject))
		hashes[i] = hex.EncodeToString(sum[:8])
	}
	return !client.IsValid() || b.cfg.HTTP.ClientFormRate == 0 || b.countsForm(r.Context(), client, admission.FormAbout, hashes...)
}

// HasAsked reports whether a client has learned as much about other people as it may.
func (b boardLimits) HasAsked(r *http.Request) bool {
	client := b.sites.ClientAddr(r)
	return client.IsValid() && b.forms.Counted[admission.FormTold].HasSpent(client)
}

// countsForm counts a form of a client for a use here and at the board that counts the client's forms, and reports whether it
// is within the limits. If that board does not answer, each board counts alone until the rack has noticed.
func (b boardLimits) countsForm(ctx context.Context, client netip.Addr, use admission.FormUse, subjects ...string) bool {
	if !b.forms.Counted[use].AllowForm(client, subjects...) {
		return false
	}
	_, network := admission.FormNetworks(client)
	owner, _ := b.members.Ring().Owners("forms of " + network.String())
	if owner == "" || owner == b.cfg.Board.Name {
		return true // it has been counted here
	}
	// Also for a client that has gone: it must be counted.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), formCountTimeout)
	defer cancel()
	to := &url.URL{Path: formCountPath, RawQuery: url.Values{"client": {client.String()}, "use": {strconv.Itoa(int(use))}, "subject": subjects}.Encode()}
	reply, err := b.link.Do(ctx, owner, &http.Request{Method: http.MethodPost, URL: to, Header: http.Header{}})
	if err != nil {
		return true
	}
	reply.Body.Close()
	return reply.StatusCode != http.StatusTooManyRequests
}

// countForm counts a form that another board has got.
func (b *board) countForm(w http.ResponseWriter, r *http.Request) {
	client, err := netip.ParseAddr(r.URL.Query().Get("client"))
	use, _ := strconv.Atoi(r.URL.Query().Get("use")) // a board with an older program counts for one use
	if err == nil && use >= 0 && use < int(admission.FormUses) && !b.forms.Counted[use].AllowForm(client, r.URL.Query()["subject"]...) {
		w.WriteHeader(http.StatusTooManyRequests)
	}
}
