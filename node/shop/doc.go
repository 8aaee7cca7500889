// Package shop is the built-in origin: a catalogue read from one TOML file, and the
// pages that a buyer needs, as an http.Handler. Every product has one URL that never
// changes, whatever the sale's state, and every page is a pure function of the
// catalogue, the order book and the moments in both, so that all boards of a rack answer
// with the same bytes and the same entity tag.
//
// What people send in goes to a Desk, which the node makes of the rack's ledger and order
// book: orders, ballot entries, registrations of interest and places on a waiting list,
// all by the one form of a product's order page. The desk's sale, by the ledger's clock,
// is what every page says and every form is taken by; the catalogue adds the words. What
// a person typed comes back with every answer but a receipt. Without a Desk the order page
// states the totals and says plainly that the rack does not sell.
//
// What the node wires: Options.Orders with a Desk, whose comments say what each method
// promises; Catalogue.Offers for the order book; Direct to keep forms and receipts out of
// caches and off the ring; and an invalidation of the key "shop" when the order book's
// news or a sale's state changes, because pages of a sale that stands still are fresh for
// some seconds. Requests must keep the Host field that the client sent: a browser's own
// forms are told from another site's by it (http.CrossOriginProtection).
//
// No page, header or error has a person in it but the receipt and the form itself; the
// package logs nothing.
//
// It keeps out of the neighbours' way: it does not know of racks, caches or rings. It
// says in its cache fields (RFC 9111, RFC 5861) what a cache in front of it may do, and
// no page that it sends stays fresh, or usable when stale, past the next moment at
// which its text is known to change, be it the opening of a sale or a timed announcement.
package shop
