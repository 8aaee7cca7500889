package shop

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"bramble/node/orders"
	"bramble/node/tomlfile"
)

// CatalogueError is a mistake in a catalogue file, with its remedy.
type CatalogueError struct {
	File    string
	Line    int    // counted from 1
	Key     string // such as "product.price"; "" if the file is not TOML
	Problem string
	Remedy  string // what to write instead
}

// Error returns one line: file, line, key, problem, remedy.
func (c *CatalogueError) Error() string {
	s := c.File + ":" + strconv.Itoa(c.Line) + ": "
	if c.Key != "" {
		s += c.Key + ": "
	}
	return s + c.Problem + ": " + c.Remedy
}

// The shape of the file. A pointer distinguishes a missing key from an empty one. A time has
// any type, so that one without a zone is an error and not a time in the local zone.
type (
	rawCatalogue struct {
		Name         *string           `toml:"name"`
		Tagline      *string           `toml:"tagline"`
		Currency     *string           `toml:"currency"`
		TaxNote      *string           `toml:"tax_note"`
		Notice       *string           `toml:"notice"`
		Seller       rawSeller         `toml:"seller"`
		Shipping     []rawShipping     `toml:"shipping"`
		Announcement []rawAnnouncement `toml:"announcement"`
		Product      []rawProduct      `toml:"product"`
	}
	rawSeller struct {
		Name    *string  `toml:"name"`
		Address []string `toml:"address"`
		Email   *string  `toml:"email"`
	}
	rawShipping struct {
		Country    *string `toml:"country"`
		Name       *string `toml:"name"`
		Price      *string `toml:"price"`
		TaxPercent *string `toml:"tax_percent"`
	}
	rawAnnouncement struct {
		Time any     `toml:"time"`
		Text *string `toml:"text"`
	}
	rawProduct struct {
		Slug            *string  `toml:"slug"`
		Name            *string  `toml:"name"`
		Tagline         *string  `toml:"tagline"`
		Description     []string `toml:"description"`
		Price           *string  `toml:"price"`
		Stock           *int64   `toml:"stock"`
		PerPerson       *int64   `toml:"limit_per_person"`
		Opens           any      `toml:"opens"`
		Closes          any      `toml:"closes"`
		State           *string  `toml:"state"`
		Mode            *string  `toml:"mode"`
		WaitingList     *bool    `toml:"waiting_list"`
		LimitByAddress  *bool    `toml:"limit_by_address"`
		FulfilmentDelay *string  `toml:"fulfilment_delay"`
		InvitationTime  *string  `toml:"invitation_time"`
		Confirm         *string  `toml:"confirm"`
		Draw            *string  `toml:"draw"`
		Dice            *int64   `toml:"dice"`
		Picture         *string  `toml:"picture"`
		PictureAlt      *string  `toml:"picture_alt"`
		Specification   []rawRow `toml:"specification"`
	}
	rawRow struct {
		Name  *string `toml:"name"`
		Value *string `toml:"value"`
	}
)

// remedyFor returns the valid values of a key, with an example. It is the catalogue's
// reference.
func remedyFor(key string) string {
	remedies := map[string]string{
		"name":                     `write name = "The launch"`,
		"tagline":                  `write tagline = "One sentence about it."`,
		"product.tagline":          `write tagline = "One sentence about it."`,
		"currency":                 `write currency = "USD", or another ISO 4217 code that the shop knows`,
		"tax_note":                 `write tax_note = "Prices include VAT." or your own note`,
		"notice":                   `write notice = "The small print." or leave the line out`,
		"seller":                   "write a [seller] table with name, address and email",
		"seller.name":              `write name = "The seller's name" under [seller]`,
		"seller.address":           `write address = ["1 High Street", "Town", "Country"] under [seller]`,
		"seller.email":             `write email = "shop@example.org" under [seller]`,
		"shipping":                 "write a [[shipping]] table with country, name and price for each country, " + atMost(orders.MaxCountries),
		"shipping.country":         `write country = "DE", two capital letters (ISO 3166), each country once`,
		"shipping.name":            `write name = "Germany"`,
		"shipping.price":           `write price = "8.00", in quotes, "0.00" if delivery is free`,
		"shipping.tax_percent":     `write tax_percent = "19", in quotes, in percent of price and delivery together, with up to two decimals ("7.75"), from 0 to 100, or leave the line out`,
		"announcement":             "write an [[announcement]] table with time and text for each, " + atMost(maxAnnouncements),
		"announcement.time":        "write time = 2012-02-29T06:00:00Z, a whole second with its zone",
		"announcement.text":        `write text = "One or two sentences."`,
		"product":                  "write a [[product]] table for each product, " + atMost(maxProducts),
		"product.slug":             `write slug = "small-letters-digits-and-dashes", each product its own`,
		"product.name":             `write name = "The product's name"`,
		"product.description":      `write description = ["A paragraph.", "Another."], ` + atMost(maxParagraphs),
		"product.price":            `write price = "35.00", in quotes`,
		"product.stock":            fmt.Sprintf("write stock = 10000, a whole number from 0 to %d", maxStock),
		"product.limit_per_person": fmt.Sprintf("write limit_per_person = 1, a whole number from 1 to %d", orders.MaxLimit),
		"product.opens":            "write opens = 2012-02-29T06:00:00Z, a whole second with its zone; a ballot must have it, others may leave the line out",
		"product.closes":           "write closes = 2012-03-07T06:00:00Z, a whole second with its zone and after opens; a ballot must have it, others may leave the line out",
		"product.mode":             `write mode = "first-come", "ballot" or "interest", or leave the line out for first-come`,
		"product.waiting_list":     "write waiting_list = true or false, or leave the line out for false; an interest list cannot have one",
		"product.limit_by_address": "write limit_by_address = true or false, or leave the line out for true",
		"product.fulfilment_delay": fmt.Sprintf(`write fulfilment_delay = "24h", in hours, minutes and seconds ("1h30m"), from "0s" to "%dh", or leave the line out for 1h`, int(maxFulfilmentDelay/time.Hour)),
		"product.invitation_time":  fmt.Sprintf(`write invitation_time = "48h", from "1m" to "%dh", or "0s" if only you invite people, or leave the line out for 48h`, int(maxFulfilmentDelay/time.Hour)),
		"product.confirm":          fmt.Sprintf(`write confirm = "30m", from "1m" to "%dh", or confirm = "off" if everything counts at once, or leave the line out for 30m if the rack sends mail with links`, int(maxFulfilmentDelay/time.Hour)),
		"product.draw":             `write draw = "commitment", "dice" or "drand", in a ballot only, or leave the line out for commitment`,
		"product.dice":             `write dice = 20, a whole number from 10 to 100, beside draw = "dice" only, or leave the line out for 20`,
		"product.state":            `write state = "closed" or state = "sold_out", or leave the line out to go by clock and stock`,
		"product.picture": fmt.Sprintf(`write picture = "model-b.svg": a .svg, .png, .jpg, .webp or .avif of up to %d KB, small letters, in the folder %q beside the catalogue`,
			maxPictureBytes>>10, pictureFolder),
		"product.picture_alt":         `write picture_alt = "What the picture shows, for people who cannot see it."`,
		"product.specification":       "write a [[product.specification]] table with name and value for each row, " + atMost(maxRows),
		"product.specification.name":  `write name = "Memory"`,
		"product.specification.value": `write value = "256 MB"`,
	}
	return cmp.Or(remedies[key], unknownRemedy)
}

// unknownRemedy is the remedy for a key that the catalogue does not have.
const unknownRemedy = "see the built-in catalogue for an example"

// atMost returns the remedy for a list with too many elements.
func atMost(n int) string { return "at most " + strconv.Itoa(n) }

// knownKeys lists the keys of a table, for the error about an unknown one; "": there is no such table.
func knownKeys(table string) string {
	return map[string]string{
		"":                      "name, tagline, currency, tax_note, notice, [seller], [[shipping]], [[announcement]], [[product]]",
		"seller":                "name, address, email",
		"shipping":              "country, name, price, tax_percent",
		"announcement":          "time, text",
		"product":               "slug, name, tagline, description, price, stock, limit_per_person, opens, closes, state, mode, waiting_list, limit_by_address, fulfilment_delay, invitation_time, confirm, draw, dice, picture, picture_alt, [[product.specification]]",
		"product.specification": "name, value",
	}[table]
}

// parseCatalogue reads a catalogue. file appears in errors only; find finds its pictures.
func parseCatalogue(file string, text []byte, find pictureFinder) (*Catalogue, error) {
	var raw rawCatalogue
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&raw)
	if err != nil {
		return nil, explainTOMLError(file, text, err)
	}
	return checkCatalogue(file, tomlfile.Index(text), &raw, find)
}

func explainTOMLError(file string, text []byte, err error) *CatalogueError {
	e := &CatalogueError{File: file, Line: 1, Problem: err.Error(), Remedy: "correct the TOML of this line: text in quotes, each key once"}
	if unknown, ok := errors.AsType[*toml.StrictMissingError](err); ok && len(unknown.Errors) > 0 {
		first := &unknown.Errors[0]
		key := first.Key()
		e.Line, _ = first.Position()
		e.Key = clipPrintable(strings.Join(key, "."))
		e.Problem = "unknown key"
		e.Remedy = "the keys here are " + knownKeys(knownTable(key))
		return e
	}
	wrong, ok := errors.AsType[*toml.DecodeError](err)
	if !ok {
		return e
	}
	syntax := tomlfile.Explain(text, err)
	e.Line, e.Problem = syntax.Line, clipPrintable(syntax.Message)
	if syntax.Remedy != "" {
		e.Remedy = syntax.Remedy
	}
	// For a value of the wrong type the decoder returns the whole key. For bad syntax and
	// for a duplicate key the decoder's own message is better.
	if key := strings.ToLower(strings.Join(wrong.Key(), ".")); remedyFor(key) != unknownRemedy {
		e.Key = clipPrintable(key)
		e.Problem = "the value has the wrong type"
		e.Remedy = remedyFor(key)
		return e
	}
	return e
}

// knownTable returns the innermost known table around an unknown key.
func knownTable(key []string) string {
	for n := len(key) - 1; n > 0; n-- {
		if table := strings.ToLower(strings.Join(key[:n], ".")); knownKeys(table) != "" {
			return table
		}
	}
	return ""
}

// clipPrintable quotes text from a file on one line of bounded length.
func clipPrintable(s string) string {
	q := strconv.Quote(s)
	q = q[1 : len(q)-1]
	if len(q) > maxName {
		q = q[:maxName] + "…"
	}
	return strings.ReplaceAll(q, `\"`, `"`)
}
