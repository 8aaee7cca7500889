// Package node is one board: the composition root that makes its parts (page cache,
// listeners, rack, origins, orders, console, panel), connects them, and runs them
// until it must stop. Read node.go first, then lifecycle.go, membership.go,
// heartbeat.go, console.go, metrics.go, panel.go and tls.go.
//
// Where to start: a client's request for a page arrives in front, which answers a hit
// through rackcache.FastPath and passes any other request to
// rackcache.PageHandler.ServeHTTP (or redirectHandler, with https); another board's
// request arrives in the handlers of peerRoutes; an order in front as well, and then in
// shop and orderservice; a heartbeat starts in board.runHeartbeat.
package node
