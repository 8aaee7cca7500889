// Package origin is where a page comes from on a miss: the web servers that a
// rack stands in front of, told by the host name that a client asks for, and
// the built-in shop.
//
// It lets through no request that could change what others get, no reply that
// could be read in two ways, and no more requests than a server was promised.
// A server that is down is told at once and not asked by every client anew.
package origin
