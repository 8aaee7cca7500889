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
	switch {
	case !client.IsValid(), b.forms.AllowUnasked(client):
		return true, true
	case b.forms.Allow(client) && b.ownerAllowsForm(r.Context(), client):
		return true, true
	}
	if len(r.Header.Values("X-Forwarded-For")) > 0 {
		b.dedupLog.Warn("forms are refused that came through a proxy; if it is yours, name it under [origin] trusted_proxies", "client", client)
	}
	return false, b.forms.AllowPage(client)
}

// ownerAllowsForm asks the board that counts the forms of a client. If it does not answer, each board counts
// alone until the rack has noticed.
func (b *board) ownerAllowsForm(ctx context.Context, client netip.Addr) bool {
	_, network := admission.FormNetworks(client)
	owner, _ := b.members.Ring().Owners("forms of " + network.String())
	if owner == "" || owner == b.cfg.Board.Name {
		return true // it has been counted here
	}
	r, err := http.NewRequest(http.MethodPost, "https://board"+formCountPath+"?client="+url.QueryEscape(client.String()), nil)
	if err != nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, formCountTimeout)
	defer cancel()
	reply, err := b.link.Do(ctx, owner, r)
	if err != nil {
		return true
	}
	reply.Body.Close()
	return reply.StatusCode != http.StatusTooManyRequests
}

// countForm counts a form that another board has got.
func (b *board) countForm(w http.ResponseWriter, r *http.Request) {
	client, err := netip.ParseAddr(r.URL.Query().Get("client"))
	switch {
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
	case b.forms.Allow(client):
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusTooManyRequests)
	}
}
