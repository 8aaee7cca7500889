package http1

const (
	// maxMisses limits the unknown lines in a row before a block is given up: a browser
	// with a cookie has one or two.
	maxMisses = 3
	// maxSpans limits the spans of lines that a request has in common with a block before
	// their fields are applied one by one.
	maxSpans = 4
)

// lineMatcher finds the lines of a request in a similar block, the candidate. The fields
// of common lines are applied at the end: as a rule these are all lines of the block, and
// its meaning is known as a whole.
type lineMatcher struct {
	candidate   *CachedHeader // nil: there is none, or it was given up
	commonBytes int           // bytes at its start that are known to be equal in the request
	line        int           // of the block, the next to be matched
	misses      int           // lines since the last that was matched

	linesRead, linesMatched int // lines that were parsed, and matched

	original         *CachedHeader // candidate at first
	spans            [maxSpans]lineSpan
	spanCount        int
	significant      int // significant fields of the block in all spans
	spanApplications int // calls of applySpans
}

// lineSpan is a span of the block's lines that stand shift bytes further on in a request.
type lineSpan struct{ line, end, shift int }

// matchLines finds the lines from b[at:] on that the block has too, next in order or
// after lines that this request lacks. It returns their number, and where the next line
// begins.
func (m *lineMatcher) matchLines(r *Request, b []byte, at int) (lines, next int, res ParseResult) {
	h := m.candidate
	for line := m.line; line < h.lineCount && line <= m.line+m.misses; line++ {
		start := h.lineStart[line]
		common := m.commonBytes
		if m.commonBytes = 0; common == 0 && at < len(b) && b[at] == h.bytes[start] {
			common = commonPrefix(b[at:], h.bytes[start:h.size])
		}
		end := line
		for end < h.lineCount && h.lineStart[end+1] <= start+common {
			end++
		}
		if end == line {
			continue
		}
		m.line, m.misses = end, 0
		m.linesMatched += end - line
		m.spans[m.spanCount] = lineSpan{line, end, at - start}
		m.spanCount++
		m.significant += h.significantBefore[end] - h.significantBefore[line]
		res = Plain
		if m.spanApplications > 0 || m.spanCount == maxSpans {
			res = m.applySpans(r, b)
		}
		return end - line, at + h.lineStart[end] - start, res
	}
	if m.misses++; m.misses > maxMisses {
		m.candidate = nil
	}
	return 0, at, Plain
}

// applySpans applies the significant fields of the matched lines to the request.
func (m *lineMatcher) applySpans(r *Request, b []byte) (res ParseResult) {
	res = Plain
	for _, s := range m.spans[:m.spanCount] {
		for _, f := range m.original.significant[m.original.significantBefore[s.line]:m.original.significantBefore[s.end]] {
			res = max(res, r.applyField(f.rule, b[s.shift+f.from:s.shift+f.to:s.shift+f.to]))
		}
	}
	m.spanCount = 0
	m.spanApplications++
	return res
}

// applyOwnLine applies a field that was parsed, and the matched lines before it.
func (m *lineMatcher) applyOwnLine(r *Request, b []byte, rule fieldRule, value []byte) (res ParseResult) {
	res = m.applySpans(r, b)
	return max(res, r.applyField(rule, value))
}

// applyRest applies the lines that were matched last.
func (m *lineMatcher) applyRest(r *Request, b []byte) ParseResult {
	if m.spanApplications == 0 && m.spanCount > 0 && m.original.isComplete && m.significant == m.original.significantCount {
		m.original.fillFields(r)
		return Plain
	}
	return m.applySpans(r, b)
}
