package node

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"bramble/node/front/admission"
)

// formCountTimeout limits the wait for the board that counts a client's forms. The link gives up a silent board
// after half a peer timeout; this is for one that is alive and slow.
const formCountTimeout = 2 * time.Second

// admitForm counts a form of the shop: see shop.Options. The owner of the client's network counts for the whole
// rack, so that five boards are one to a script, and one board is the whole shop to a school.
func (b *board) admitForm(r *http.Request) (admitted, withPage bool) {
	client := b.sites.ClientAddr(r)
	if !client.IsValid() || b.forms.Unasked.AllowForm(client) || b.forms.Counted.AllowForm(client) && b.ownerAllowsForm(r.Context(), client) {
		return true, true
	}
	b.formsRefused.Add(1)
	if r.Header.Get("X-Forwarded-For") != "" {
		b.dedupLog.Warn("forms are refused that came through a proxy; if it is yours, name it under [origin] trusted_proxies", "client", client)
	}
	return false, b.forms.Pages.AllowForm(client)
}

// ownerAllowsForm asks the board that counts the forms of a client. If it does not answer, each board counts
// alone until the rack has noticed.
func (b *board) ownerAllowsForm(ctx context.Context, client netip.Addr) bool {
	_, network := admission.FormNetworks(client)
	owner, _ := b.members.Ring().Owners("forms of " + network.String())
	if owner == "" || owner == b.cfg.Board.Name {
		return true // it has been counted here
	}
	// Also for a client that has gone: it must be counted.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), formCountTimeout)
	defer cancel()
	to := &url.URL{Path: formCountPath, RawQuery: url.Values{"client": {client.String()}}.Encode()}
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
	if err == nil && !b.forms.Counted.AllowForm(client) {
		w.WriteHeader(http.StatusTooManyRequests)
	}
}
