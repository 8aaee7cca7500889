// Package origin is the upstream side of the rack's reverse proxy: on a miss it
// fetches a page from the web server that the client's host name stands for, or
// from the built-in shop.
//
// It lets through no request that could change what other clients get, no reply
// that can be read in two ways, and no more requests at once than a server was
// promised. Health checks find a server that is down; requests for it then fail
// at once.
package origin
