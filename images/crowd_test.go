//go:build linux

package images

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// crowdEnv makes this test binary the clients of a counted server:
// "ADDRESS SHAPE HITS MARK".
const crowdEnv = "BRAMBLE_TEST_CROWD"

// crowdSize is the number of a crowd's connections.
const crowdSize = 4

// pageBytes is the size of the page that a crowd requests.
const pageBytes = 4096

// requestShapes returns the kinds of counted requests: with one field, with Chrome's 19,
// and with those and a new cookie each time.
func requestShapes() []string { return []string{"plain", "chrome", "cookie"} }

// crowdRequest returns a crowd's request.
func crowdRequest(shape string) []byte {
	const plain = "GET /page.html HTTP/1.1\r\nHost: 127.0.0.1\r\n"
	if shape == "plain" {
		return []byte(plain + "\r\n")
	}
	return []byte(plain + strings.Join([]string{
		"Connection: keep-alive", "Cache-Control: max-age=0", "DNT: 1", "Upgrade-Insecure-Requests: 1",
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
		`sec-ch-ua: "Chromium";v="141", "Not?A_Brand";v="8"`, "sec-ch-ua-mobile: ?0", `sec-ch-ua-platform: "Linux"`,
		"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate", "Sec-Fetch-User: ?1", "Sec-Fetch-Dest: document",
		"Referer: http://127.0.0.1/", "Accept-Encoding: gzip, deflate, br, zstd", "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
		"Cookie: seen=1; theme=dark; " + visitor + "000000000000", "", "",
	}, "\r\n"))
}

// visitor begins the cookie that a crowd of the shape "cookie" counts up.
const visitor = "visit="

// TestBeACrowd is not a test: it runs the clients of a server on the same board.
func TestBeACrowd(t *testing.T) {
	words := strings.SplitN(os.Getenv(crowdEnv), " ", 4)
	if len(words) != 4 {
		t.Skip("only as the clients of another test")
	}
	var hits int
	if _, err := fmt.Sscan(words[2], &hits); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, crowdSize)
	for i := range crowdSize {
		go func() { ended <- requestPage(words[0], words[1], i, hits/crowdSize, words[3]) }()
	}
	for range crowdSize {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// requestPage sends n requests on one connection, each after the reply to the one before,
// and checks that every reply is the page and has the mark in its header.
func requestPage(address, shape string, number, hits int, mark string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Minute)); err != nil {
		return err
	}
	request := crowdRequest(shape)
	cookie := bytes.Index(request, []byte(visitor)) + len(visitor)
	length := fmt.Appendf(nil, "Content-Length: %d\r\n", pageBytes)
	r := bufio.NewReaderSize(c, 16<<10)
	for i := range hits {
		if shape == "cookie" {
			copy(request[cookie:], fmt.Sprintf("%02d%010d", number, i))
		}
		if _, err := c.Write(request); err != nil {
			return err
		}
		head, err := readHead(r)
		switch {
		case err != nil:
			return fmt.Errorf("reply %d: %w", i, err)
		case !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")), !bytes.Contains(head, length), !bytes.Contains(head, []byte(mark)):
			return fmt.Errorf("reply %d is not the page with %q:\n%s", i, mark, head)
		}
		if _, err := r.Discard(len(head) + pageBytes); err != nil {
			return fmt.Errorf("reply %d: %w", i, err)
		}
	}
	return nil
}

// readHead returns a reply's header without consuming it.
func readHead(r *bufio.Reader) ([]byte, error) {
	const largest = 2000 // bytes
	if _, err := r.Peek(1); err != nil {
		return nil, err
	}
	for want := r.Buffered(); want <= largest+pageBytes; want = r.Buffered() + 1 {
		seen, err := r.Peek(want)
		if end := bytes.Index(seen, []byte("\r\n\r\n")); end >= 0 {
			return seen[:end+4], nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, errors.New("its head does not end")
}
