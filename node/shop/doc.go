// Package shop is the built-in origin: a catalogue read from one TOML file, and the
// pages that a buyer needs, as an http.Handler. Every product has one URL that never
// changes, whatever the sale's state, and every page is a pure function of the
// catalogue and of the moments in it, so that all boards of a rack answer with the
// same bytes and the same entity tag.
//
// The package takes no orders. Its order page states the total for each country and
// says plainly that the rack cannot sell yet.
//
// It keeps out of the neighbours' way: it does not know of racks, caches or rings. It
// says in its cache fields (RFC 9111, RFC 5861) what a cache in front of it may do, and
// no page that it sends stays fresh, or usable when stale, past the next moment at
// which the catalogue makes its text change, be it the opening of a sale or a timed
// announcement.
package shop
