// Package tomlfile is what the readers of a board's TOML files share. Index
// finds the line of each key, so that a mistake can be reported with its line,
// and Explain says what to write instead of a line that is not TOML.
package tomlfile
