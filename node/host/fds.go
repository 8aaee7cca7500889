package host

import "fmt"

// reservedFiles is the number of file descriptors that a board reserves for everything but
// the public connections: the rack link with its streams to every board, the
// console (console.MaxConnections), gossip, the ledger's files, and 128
// connections to each of a few origins.
const reservedFiles = 768

// LimitConnections returns the number of public connections that the process's file
// descriptors allow: configured, or fewer with a warning for the operator.
func LimitConnections(configured int) (limit int, warning string) {
	return fitConnections(configured, maxOpenFiles())
}

// fitConnections is the rule of LimitConnections. files is the number of files that the process may open, 0 if
// that is not known.
func fitConnections(configured, files int) (limit int, warning string) {
	if files <= 0 || configured <= files-reservedFiles {
		return configured, ""
	}
	limit = max(files-reservedFiles, files/4, 1)
	if limit >= configured {
		return configured, ""
	}
	return limit, fmt.Sprintf("%d connections do not fit into the %d files that this process may open; the limit is %d: "+
		"raise the limit (ulimit -n %d) or set [http] max_connections to %d", configured, files, limit, configured+reservedFiles, limit)
}
