// Package shop is the built-in origin: a catalogue from one TOML file and the pages that a
// buyer needs, as an http.Handler. Every product has one URL that never changes, in any
// state of its sale. Every page is a pure function of the catalogue, the order book and
// the time, so that all boards of a rack answer with the same bytes and the same entity tag.
//
// A product's order page has one form, for what its sale accepts now: an order, a ballot
// entry, a registration of interest or a place on the waiting list. Forms go to an
// OrderService, which the node makes of the rack's ledger and order book. The order book
// decides, by the ledger's clock, the state on every page and which forms are accepted; the
// catalogue adds the texts. A form that is not accepted is shown again with the typed values.
// Without an OrderService the order page shows totals, and states that the rack does not
// accept orders.
//
// The node wires up: Options.Orders; Catalogue.Offers for the order book; BypassesCache, to keep
// forms and receipts out of caches and off the ring; SharesPage, so that a board takes only products'
// pages, their list and pictures from another; and a purge of the key "shop" when the
// announcements or a sale's state change, because pages of a sale that does not change
// are fresh for some seconds. Requests must keep the client's Host field: it distinguishes the
// shop's own forms from those of other sites (http.CrossOriginProtection).
//
// Only receipts and the form itself contain personal data, never another page, a header or
// an error. The package logs nothing.
//
// It does not depend on racks, caches or rings. Its cache fields (RFC 9111, RFC 5861) control
// the caches in front of it, and no page stays fresh, or usable when stale, past the next time
// at which its text is known to change, such as the opening of a sale or an announcement.
package shop
