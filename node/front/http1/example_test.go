package http1_test

import (
	"fmt"

	"bramble/node/front/http1"
)

func ExampleHeaderCache_Parse() {
	var cache http1.HeaderCache
	var r http1.Request
	input := []byte("GET /tea HTTP/1.1\r\nHost: shop.test\r\nAccept-Encoding: gzip\r\n\r\nGET / HT")
	result, _ := cache.Parse(&r, input)
	fmt.Println(result == http1.Plain, string(r.Host), string(r.Target), string(r.Encoding))
	result, _ = cache.Parse(&r, input[r.Size:])
	fmt.Println(result == http1.Incomplete)
	result, _ = cache.Parse(&r, []byte("POST / HTTP/1.1\r\n"))
	fmt.Println(result == http1.Foreign)
	// Output:
	// true shop.test /tea gzip
	// true
	// true
}
