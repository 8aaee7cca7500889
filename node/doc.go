// Package node is one board: the composition root that makes its parts (memory,
// listeners, rack, origins, orders, console, panel), connects them, and runs them
// until it must stop. Read node.go first, then lifecycle.go, membership.go,
// heartbeat.go, notices.go, console.go, metrics.go, panel.go, tls.go and peer.go.
//
// The journeys start here. A page: rackcache.PageHandler.ServeHTTP. Another board's
// request for a page: rackcache's serveObject. A heartbeat: board.runHeartbeat.
package node
