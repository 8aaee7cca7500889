// Package origin is the upstream side of the rack's reverse proxy: on a miss it
// fetches a page from the web server that the client's host name stands for, or
// from the built-in shop.
//
// It rejects requests that could change what other clients get and replies that can be
// read in two ways, and limits the concurrent requests to a server. Health checks detect
// a server that is down; requests for it then fail at once.
package origin
