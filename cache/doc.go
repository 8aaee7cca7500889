// Package cache is a shared HTTP cache within a byte budget. It answers requests
// from memory by the rules of RFC 9111, sends one request upstream for all clients
// that wait for the same page (singleflight), and never gives one client's private
// reply to another. It knows nothing of boards and rings: the caller's [Route] says
// where a page comes from.
//
// The journey of a request is one path through four files. [Cache.Serve] (lookup.go)
// looks the page up in the store and answers at once with a fresh copy. Otherwise
// the request joins or starts a flight (flight.go), which fetches the page (fetch.go),
// judges by fixed rules (storability.go, freshness.go) whether the reply may be
// shared and stored, publishes that, and reads the body into a spool, from which all
// clients read while it arrives (landing.go).
package cache
