package shop

import (
	"io"
	"net/http"
	"strings"

	"bramble/node/orders"
)

// limitRetrySeconds is the Retry-After of a form beyond its client's limit: see admission.FormRetry.
const limitRetrySeconds = "20"

// askedRetrySeconds is the Retry-After of a form of a client that has learned enough about others: then the next may be answered.
const askedRetrySeconds = "180"

// aboutRetrySeconds is the Retry-After of a form of a client that has sent several about one street or person: see admission.AboutForms.
const aboutRetrySeconds = "600"

// What a person reads who sent a form beyond the limit.
const (
	limitTitle = "One moment: nothing was taken yet"
	limitText  = "Very many forms have come from your internet connection, which a whole school can share, so this one has to wait. Nothing is lost: press the button again in about 20 seconds."
	askedText  = "Several forms from your internet connection had an e-mail or postal address with which something was placed here before. So that nobody can try out whom this shop knows, the next one has to wait. Nothing is lost: press the button again in about three minutes."
	aboutText  = "Several forms for this e-mail address or this street have come from your internet connection within an hour. So that nobody can try out whom this shop knows, or fill a mailbox, this one has to wait. Nothing is lost: press the button again in about ten minutes."
	// limitPage is for a client that has sent even more.
	limitPage = "<!doctype html><html lang=en><meta name=viewport content=\"width=device-width\"><meta name=color-scheme content=\"light dark\"><title>" + limitTitle + "</title><h1>" + limitTitle + "</h1><p>" + limitText + " Your browser's Back button has what you typed."
)

// admitAbout counts a form for its e-mail address and, if a refusal could tell about a postal address, for its street. Every form
// counts, whatever its answer would be, because a form that is accepted tells as much as one that is not.
func (s *Shop) admitAbout(r *http.Request, sale *productSale, person *orders.Person) bool {
	subjects := []string{"email " + orders.NormalEmail(person.Email)}
	if sale.book.LimitByAddress && !sale.Confirms() {
		subjects = append(subjects, "street "+person.Street())
	}
	return s.limits == nil || s.limits.AdmitAbout(r, subjects...)
}

// limitForm counts a form before its body is read. admitted: it is within its client's limits. ok is false if
// it has replied: to a program, and to a client whose refusals exceed a limit too.
func (s *Shop) limitForm(w http.ResponseWriter, r *http.Request, isMailed bool) (admitted, ok bool) {
	if s.limits == nil {
		return true, true
	}
	admitted, withPage := s.limits.AdmitForm(r, isMailed)
	if admitted {
		return true, true
	}
	h := w.Header()
	h.Set("Retry-After", limitRetrySeconds)
	kind, body := "text/html; charset=utf-8", limitPage
	if accepted := r.Header.Get("Accept"); strings.Contains(accepted, "application/json") && !strings.Contains(accepted, "text/html") {
		kind, body = "application/json", `{"error":"too many forms from this address: send it again later","retry_after_seconds":`+limitRetrySeconds+"}\n"
	} else if withPage {
		return false, true
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", kind)
	w.WriteHeader(http.StatusTooManyRequests)
	_, _ = io.WriteString(w, body) // an error means that the client has disconnected
	return false, false
}
