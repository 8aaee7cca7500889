package cache

import (
	"math/rand/v2"
	"net/http"
	"strconv"
)

// multipartBody is a multipart/byteranges body (RFC 9110 §14.6) of a stored reply. The
// heads of the parts are built first, so that the length is known.
type multipartBody struct {
	parts    []byteRange
	heads    []string // in front of each part
	tail     string
	boundary string
	length   int64
}

func newMultipartBody(o *Object, parts []byteRange) multipartBody {
	m := multipartBody{parts: parts, boundary: "bramble-" + strconv.FormatUint(rand.Uint64(), 36)}
	kind := o.Field("Content-Type")
	for i, part := range parts {
		head := "--" + m.boundary + "\r\n"
		if i > 0 {
			head = "\r\n" + head
		}
		if kind != "" {
			head += "Content-Type: " + kind + "\r\n"
		}
		head += "Content-Range: " + contentRange(part, o.size) + "\r\n\r\n"
		m.heads = append(m.heads, head)
		m.length += int64(len(head)) + part.length
	}
	m.tail = "\r\n--" + m.boundary + "--\r\n"
	m.length += int64(len(m.tail))
	return m
}

// setFields sets the fields of the multipart reply: each part has its own
// Content-Range, and the reply must have none (§15.3.7.2).
func (m multipartBody) setFields(h http.Header) {
	h["Content-Type"] = []string{"multipart/byteranges; boundary=" + m.boundary}
	h["Content-Length"] = []string{strconv.FormatInt(m.length, 10)}
}

func (m multipartBody) writeTo(w http.ResponseWriter, o *Object) error {
	for i, part := range m.parts {
		if _, err := w.Write([]byte(m.heads[i])); err != nil {
			return err
		}
		if err := o.writeBody(w, part); err != nil {
			return err
		}
	}
	_, err := w.Write([]byte(m.tail))
	return err
}
