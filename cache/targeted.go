package cache

import (
	"net/http"
	"strconv"

	"github.com/dunglas/httpsfv"
)

// targetField is the one targeted field that this cache honours (RFC 9213 §3.1).
// It is passed on like any other, for the caches between here and the client.
const targetField = "Cdn-Cache-Control"

// replyControl returns the directives that apply to this cache: those of the targeted
// field if it is valid and not empty, and then Cache-Control and Expires do not apply
// at all (RFC 9213 §2.2); otherwise those of Cache-Control.
func replyControl(h http.Header) (c control, targeted bool) {
	if lines, has := h[targetField]; has {
		if c, ok := parseTargeted(lines); ok {
			return c, true
		}
	}
	return parseControl(h["Cache-Control"]), false
}

// parseTargeted reads a targeted field, a Dictionary of structured fields. ok
// is false if it is empty or invalid, a known directive of the wrong type included:
// the field then counts as absent (RFC 9213 §2.1).
func parseTargeted(lines []string) (c control, ok bool) {
	dict, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil || len(dict.Names()) == 0 {
		return control{}, false
	}
	for _, name := range dict.Names() {
		member, _ := dict.Get(name)
		item, isItem := member.(httpsfv.Item)
		switch name {
		case "max-age", "s-maxage", "stale-while-revalidate", "stale-if-error":
			seconds, isInt := item.Value.(int64)
			if !isItem || !isInt {
				return control{}, false
			}
			c.applyDirective(name, strconv.FormatInt(max(seconds, 0), 10), true, true) // a negative one means stale
		case "no-cache", "private":
			switch value := item.Value.(type) {
			case bool:
				if value {
					c.applyDirective(name, "", false, true)
				}
			case string:
				c.applyDirective(name, value, true, true)
			case httpsfv.Token:
				c.applyDirective(name, string(value), true, true)
			default:
				return control{}, false
			}
		case "no-store", "public", "must-revalidate", "proxy-revalidate", "must-understand", "immutable":
			value, isBool := item.Value.(bool)
			if !isItem || !isBool {
				return control{}, false
			}
			if value {
				c.applyDirective(name, "", false, true)
			}
		}
	}
	return c, true
}
