package origin

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"time"
)

// builtIn is the built-in shop as an origin. It renders a page into memory: shop
// pages are a few kilobytes, so there is nothing to stream.
type builtIn struct{ shop http.Handler }

func (b builtIn) fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	page := &pageWriter{header: http.Header{}}
	b.shop.ServeHTTP(page, r.WithContext(ctx))
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if page.status == 0 {
		page.status = http.StatusOK
	}
	if page.header.Get("Date") == "" {
		page.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	return &http.Response{
		StatusCode:    page.status,
		Status:        http.StatusText(page.status),
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        page.header,
		Body:          io.NopCloser(bytes.NewReader(page.body.Bytes())),
		ContentLength: int64(page.body.Len()),
		Request:       r,
	}, nil
}

// pageWriter is a http.ResponseWriter into memory.
type pageWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (p *pageWriter) Header() http.Header { return p.header }

// WriteHeader sets the status, once.
func (p *pageWriter) WriteHeader(status int) {
	if p.status == 0 {
		p.status = status
	}
}

func (p *pageWriter) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	return p.body.Write(b)
}
