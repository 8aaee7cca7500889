// Package cache is a shared HTTP cache that lives inside a byte budget. It
// answers requests from memory by the rules of RFC 9111, asks upstream once
// however many clients wait for the same page, and never hands one client's
// private reply to another. It knows nothing of boards and rings: where a page
// comes from is the caller's [Route].
//
// A request's way through the package: [Cache.Serve] looks the page up in the
// store; a fresh copy is answered at once; anything else becomes a flight
// (flight.go), which asks upstream, decides by fixed rules (keep.go, fresh.go)
// what may be done with the reply, and lets every client read the body out of
// one spool while it arrives.
package cache
