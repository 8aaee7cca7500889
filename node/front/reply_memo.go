package front

import (
	"time"

	"bramble/node/front/http1"
)

const (
	// maxMemoReply limits a memoised reply, in bytes: a shop's page that fits TCP's first
	// flight, and its head. The memo is a copy, so that it goes out in one piece; sending a
	// longer one takes so long that nothing would be gained.
	maxMemoReply = 16 << 10
	// replaceEvery: each 8th request for a different page replaces the memoised reply, so
	// the most popular page tends to stay.
	replaceEvery = 8
)

// replyMemos are the memoised replies in a set of replyBuffers: the last reply to a
// request with each cached header block, whole. In a crowd most clients request one page,
// with one of a few browsers. While ReplyValidity reports that the FastHandler would
// answer the same, the reply is sent again, and nothing is looked up or put together.
type replyMemos [http1.MaxCachedHeaders]replyMemo

// replyMemo is a memoised reply. Its key is a header block's meaning and a request line.
// The line lies in the block (http1.CachedHeader); forgetting it invalidates the memo.
type replyMemo struct {
	header      *http1.CachedHeader
	bytes       []byte // head and body
	validity    ReplyValidity
	spare       ReplyValidity // room for the next validity
	overTLS     bool
	misses      int // requests for other pages since
	pendingUses int // requests in the present batch of ready connections
}

func (m *replyMemos) of(header *http1.CachedHeader) *replyMemo { return &m[header.Index()] }

// replyTo returns the memoised reply to a request with a header block's meaning (nil: no
// block has it) and a given line; nil if there is none, or it is invalid.
func (m *replyMemos) replyTo(header *http1.CachedHeader, line []byte, r *answerRules) []byte {
	if header == nil || r.draining || !header.BeginsWithLine(line) {
		return nil
	}
	memo := m.of(header)
	if !memo.revalidate(r, r.consumeClock(), 1) {
		return nil
	}
	return memo.bytes
}

// revalidatePending revalidates the memos that were found for ready connections, as of a
// clock reading, and returns the number of connections whose memo is valid.
func (m *replyMemos) revalidatePending(r *answerRules, clock time.Duration) (valid int) {
	for i := range m {
		memo := &m[i]
		if n := memo.pendingUses; n > 0 {
			memo.pendingUses = 0
			if memo.revalidate(r, clock, n) {
				valid += n
			}
		}
	}
	return valid
}

// revalidate reports whether the reply would be the same by these rules, as of a clock
// reading, and counts it as n hits then. Otherwise it invalidates the memo.
func (m *replyMemo) revalidate(r *answerRules, clock time.Duration, n int) bool {
	valid := m.isValid() && m.overTLS == r.overTLS && m.validity.StillValid(clock, n)
	if !valid {
		m.header.ForgetLine()
	}
	return valid
}

// isValid reports whether the memo has not been invalidated.
func (m *replyMemo) isValid() bool { return m.header.HasLine() }

// toReplace returns the memo that the reply to a request with a header block's meaning
// and a given line should replace; nil for none.
func (m *replyMemos) toReplace(header *http1.CachedHeader, line []byte, r *answerRules) *replyMemo {
	if r.draining || len(line) > http1.MaxRememberedLine {
		return nil
	}
	memo := m.of(header)
	memo.header = header
	if !memo.isValid() || header.BeginsWithLine(line) {
		return memo
	}
	if memo.misses++; memo.misses < replaceEvery {
		return nil
	}
	return memo
}

// store memoises a reply if it fits.
func (m *replyMemo) store(q *FastRequest, line, head []byte, body [][]byte, r *answerRules) {
	size := len(head)
	for _, part := range body {
		size += len(part)
	}
	if m.spare = q.Validity; m.spare == nil || size > maxMemoReply {
		return
	}
	m.validity, m.spare = m.spare, m.validity
	m.bytes = append(m.bytes[:0], head...)
	for _, part := range body {
		m.bytes = append(m.bytes, part...)
	}
	m.overTLS, m.misses = r.overTLS, 0
	m.header.RememberLine(&q.Request, line)
}
