package main

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// request is one line of a trace.
type request struct {
	key  uint64
	size int64
}

// maxLine bounds a line of a trace, in bytes.
const maxLine = 1 << 20

// loadTrace reads a trace file, "-" for standard input; one whose name ends in .gz
// is decompressed.
func loadTrace(name string) ([]request, error) {
	if name == "-" {
		return parseTrace(os.Stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	all, err := parseTrace(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return all, nil
}

// parseTrace reads a trace: a key a line, and after blanks or a comma its size in
// bytes, 1 if there is none. Empty lines and lines that start with # are skipped.
// Anything after the size is ignored.
func parseTrace(r io.Reader) ([]request, error) {
	var all []request
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		words := strings.FieldsFunc(lines.Text(), func(r rune) bool {
			return r == ' ' || r == '\t' || r == ',' || r == '\r'
		})
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		q := request{key: xxhash.Sum64String(words[0]), size: 1}
		if len(words) > 1 {
			size, err := strconv.ParseInt(words[1], 10, 64)
			if err != nil || size < 0 || size > 1<<40 {
				return nil, fmt.Errorf("line %d: %q is not a size in bytes", n, words[1])
			}
			q.size = max(size, 1)
		}
		all = append(all, q)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading a trace: %w", err)
	}
	return all, nil
}
