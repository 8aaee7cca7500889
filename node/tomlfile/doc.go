// Package tomlfile holds the shared parts of the parsers of a board's TOML files. Index
// finds the line of each key, so that a mistake can be reported with its line, and
// Explain returns a remedy for a line that is not TOML.
package tomlfile
