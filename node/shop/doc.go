// Package shop is the built-in origin: a catalogue from one TOML file and the pages that a
// buyer needs, as an http.Handler. Every product has one URL that never changes, whatever
// the state of its sale. Every page is a pure function of the catalogue, the order book and
// the time, so that all boards of a rack answer with the same bytes and the same entity tag.
//
// A product's order page has one form, for what its sale accepts now: an order, a ballot
// entry, a registration of interest or a place on the waiting list. Forms go to an
// OrderService, which the node makes of the rack's ledger and order book. The order book
// decides, by the ledger's clock, what every page says and which forms are accepted; the
// catalogue adds the texts. Every reply except a receipt shows again what the person typed.
// Without an OrderService the order page shows totals, and says that the rack does not take
// orders.
//
// The node wires up: Options.Orders; Catalogue.Offers for the order book; Direct, to keep
// forms and receipts out of caches and off the ring; and a purge of the key "shop" when the
// announcements or a sale's state change, because pages of a sale that stands still are
// fresh for some seconds. Requests must keep the client's Host field: it distinguishes the
// shop's own forms from those of other sites (http.CrossOriginProtection).
//
// Only receipts and the form itself contain personal data, never another page, a header or
// an error. The package logs nothing.
//
// It knows nothing of racks, caches or rings. Its cache fields (RFC 9111, RFC 5861) say what
// a cache in front may do, and no page stays fresh, or usable when stale, past the next time
// at which its text is known to change, such as the opening of a sale or an announcement.
package shop
