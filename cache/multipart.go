package cache

import (
	"math/rand/v2"
	"net/http"
	"strconv"
)

// multipartBody is a multipart/byteranges body (RFC 9110 §14.6) of a stored reply. The
// heads of the parts are made beforehand, so that the length is known.
type multipartBody struct {
	parts    []byteRange
	heads    []string // in front of each part
	tail     string
	boundary string
	length   int64
}

func newMultipartBody(o *Object, parts []byteRange) multipartBody {
	s := multipartBody{parts: parts, boundary: "bramble-" + strconv.FormatUint(rand.Uint64(), 36)}
	kind := o.Field("Content-Type")
	for i, part := range parts {
		head := "--" + s.boundary + "\r\n"
		if i > 0 {
			head = "\r\n" + head
		}
		if kind != "" {
			head += "Content-Type: " + kind + "\r\n"
		}
		head += "Content-Range: " + contentRange(part, o.size) + "\r\n\r\n"
		s.heads = append(s.heads, head)
		s.length += int64(len(head)) + part.length
	}
	s.tail = "\r\n--" + s.boundary + "--\r\n"
	s.length += int64(len(s.tail))
	return s
}

// setFields sets the fields of the multipart reply: each part has its own
// Content-Range, and the reply must have none (§15.3.7.2).
func (s multipartBody) setFields(h http.Header) {
	h["Content-Type"] = []string{"multipart/byteranges; boundary=" + s.boundary}
	h["Content-Length"] = []string{strconv.FormatInt(s.length, 10)}
}

func (s multipartBody) writeTo(w http.ResponseWriter, o *Object) error {
	for i, part := range s.parts {
		if _, err := w.Write([]byte(s.heads[i])); err != nil {
			return err
		}
		if err := o.writeBody(w, part); err != nil {
			return err
		}
	}
	_, err := w.Write([]byte(s.tail))
	return err
}
