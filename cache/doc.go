// Package cache is a shared HTTP cache within a byte budget. It answers requests
// from memory by the rules of RFC 9111, sends one request upstream for all clients
// that wait for the same page (singleflight), and never gives one client's private
// reply to another. It knows nothing of boards and rings: the caller's [Route] says
// where a page comes from.
//
// The journey of a request: [Cache.Serve] (lookup.go) looks the page up in the store
// and answers at once if it is fresh. Otherwise the request joins or starts a flight
// (flights.go). The flight (flight.go) fetches the page, decides by the RFC's rules
// (storability.go, freshness.go) whether the reply may be shared and stored, and
// publishes that. Then it reads the body into a spool (flightbody.go, spool.go), from
// which all clients read while it arrives (answer.go).
package cache
