package shop

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
)

// Limits of a catalogue's pictures, which stay in the memory of a board with 256 MB.
const (
	maxPictureBytes  = 256 << 10 // bytes of one picture
	maxPicturesBytes = 2 << 20   // bytes of all pictures of a catalogue
)

// picture is an image with a URL made from its content: a changed picture has another URL,
// so copies never expire (RFC 8246).
type picture struct {
	path  string // "/pictures/<hash>-<name>"
	mime  string
	bytes []byte
}

type pictureFinder func(name string) ([]byte, error)

// pictureType returns the media type for a file name's extension; "" for a type that not
// every browser shows as a picture.
func pictureType(name string) string {
	return map[string]string{
		".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp", ".avif": "image/avif",
	}[path.Ext(name)]
}

// isPlainName reports whether a file name is safe in a folder and in a URL: lower-case
// letters, digits, dots and dashes, not starting with a dot.
func isPlainName(name string) bool {
	return name != "" && len(name) <= maxName && name[0] != '.' && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}

func newPicture(name string, content []byte) picture {
	sum := sha256.Sum256(content)
	return picture{
		path:  "/pictures/" + hex.EncodeToString(sum[:8]) + "-" + name,
		mime:  pictureType(name),
		bytes: content,
	}
}

func builtInPicture(name string) ([]byte, error) {
	return builtIn.ReadFile("art/" + name)
}

// folderPictures returns a finder for a folder, which need not exist, and then the binary.
// os.OpenInRoot prevents links in the folder from leading out of it.
func folderPictures(folder string) pictureFinder {
	return func(name string) ([]byte, error) {
		f, err := os.OpenInRoot(folder, name)
		if errors.Is(err, fs.ErrNotExist) {
			return builtInPicture(name)
		}
		if err != nil {
			return nil, err
		}
		defer f.Close()
		content, err := io.ReadAll(io.LimitReader(f, maxPictureBytes+1))
		if err == nil && len(content) > maxPictureBytes {
			err = fmt.Errorf("larger than %d KB", maxPictureBytes>>10)
		}
		return content, err
	}
}

// addPicture adds a picture, once, and returns its URL path.
func (c *Catalogue) addPicture(name string, find pictureFinder) (string, error) {
	content, err := find(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", errors.New("there is no such picture")
	}
	if err != nil {
		return "", err
	}
	p := newPicture(name, content)
	if slices.ContainsFunc(c.pictures, func(q picture) bool { return q.path == p.path }) {
		return p.path, nil
	}
	total := len(content)
	for _, q := range c.pictures {
		total += len(q.bytes)
	}
	if total > maxPicturesBytes {
		return "", fmt.Errorf("all pictures together are larger than %d KB", maxPicturesBytes>>10)
	}
	c.pictures = append(c.pictures, p)
	return p.path, nil
}

// servePicture sends a picture. An SVG from elsewhere may contain a script, so the policy
// forbids everything when the picture is opened by itself.
func (s *Shop) servePicture(w http.ResponseWriter, r *http.Request) {
	for _, p := range s.cat.pictures {
		if p.path == r.URL.Path {
			h := w.Header()
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
			h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
			h.Set("Surrogate-Key", "shop")
			sendContent(w, r, p.mime, p.bytes)
			return
		}
	}
	s.notFound(w, r)
}
