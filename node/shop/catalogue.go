package shop

import (
	"embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"bramble/node/orders"
	"bramble/node/orders/draw"
)

// Limits of a catalogue; those of text are in bytes. They protect a board of 256 MB from a
// mistaken file. maxPageBytes keeps pages small.
const (
	maxCatalogueBytes  = 256 << 10 // the catalogue file
	maxProducts        = 12
	maxAnnouncements   = 20
	maxParagraphs      = 8
	maxRows            = 24 // specification rows of one product
	maxAddressLines    = 6
	maxName            = 80 // of a name, a country, a row's name, an address line
	maxSentence        = 240
	maxParagraph       = 1200
	maxStock           = 10_000_000
	maxTax             = 100_00 // hundredths of a percent
	maxFulfilmentDelay = 90 * 24 * time.Hour
	firstYear          = 2000 // of opens and closes, as the order book limits them
	lastYear           = 2199
)

// defaultFulfilmentDelay is the time during which a buyer can cancel an order, unless the
// catalogue sets another.
const defaultFulfilmentDelay = time.Hour

// pictureFolder is the folder of pictures beside a catalogue file.
const pictureFolder = "pictures"

//go:embed launch.toml art
var builtIn embed.FS

// Catalogue is the content of a shop's pages. It does not change once loaded, so that a shop
// and its pages share it without a lock.
type Catalogue struct {
	Name     string // of the shop or the sale
	Tagline  string
	Currency string // ISO 4217; of every price in the catalogue
	TaxNote  string // shown beside every total
	Notice   string // small print at the foot of every page; may be empty
	Seller   Seller

	Shipping      []Shipping     // in the order of the file
	Announcements []Announcement // oldest first
	Products      []Product      // in the order of the file

	pictures []picture
}

// Seller is the legal seller, which a buyer has a right to know.
type Seller struct {
	Name    string
	Address []string // lines
	Email   string
}

// Shipping is the price of delivery to one country.
type Shipping struct {
	Country string // ISO 3166-1 alpha-2, such as "DE"
	Name    string
	Price   Money
	Tax     int // on price and delivery, in hundredths of a percent: 1900 is 19 %; 0 = the shop collects none
}

// Announcement is a text that every page shows from its time on, until the next one.
type Announcement struct {
	Time time.Time // UTC
	Text string
}

// Product is one product for sale.
type Product struct {
	Slug        string // its part of the URL; must never change once published
	Name        string
	Tagline     string
	Description []string // paragraphs
	Price       Money    // of one unit, before shipping and local tax
	Stock       int
	PerPerson   int              // how many units one person can have
	Opens       time.Time        // UTC; zero = from the start
	Closes      time.Time        // UTC; zero = never by the clock
	Override    orders.SaleState // SaleClosed or SaleSoldOut, set by hand; zero = by clock and stock
	Picture     string           // URL path; "" = none
	PictureAlt  string

	Mode            orders.Mode
	WaitingList     bool          // there is a waiting list once it is sold out
	LimitByAddress  bool          // PerPerson also limits a postal address
	FulfilmentDelay time.Duration // how long a buyer can cancel before fulfilment begins
	// InvitationTime limits an automatic invitation from the waiting list, as
	// orders.Offer has it.
	InvitationTime time.Duration
	Confirm        time.Duration // how long a person has to confirm by mail; 0 = the default, orders.ConfirmOff = everything counts at once
	Draw           draw.Kind     // of a ballot: its public randomness
	Dice           int           // the number of dice, if that is dice

	Specification []SpecificationRow
}

// drawCommitment is the value of the catalogue's key `draw` for draw.None: a secret, whose hash is
// published beforehand, and nothing else. The other values are those of draw.Kind.
const drawCommitment = "commitment"

// SpecificationRow is one row of a specification.
type SpecificationRow struct {
	Name  string
	Value string
}

// Default returns the built-in catalogue: the launch of 29 February 2012. An error is a
// mistake in this source tree.
func Default() (*Catalogue, error) {
	const name = "launch.toml"
	text, err := builtIn.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("the built-in catalogue: %w", err)
	}
	return parseCatalogue(name, text, builtInPicture)
}

// Load reads a catalogue file. It searches for pictures in the folder "pictures" beside the
// file and then in the binary. A mistake in the catalogue is a *CatalogueError, one line
// long; an unreadable file is the operating system's error.
func Load(path string) (*Catalogue, error) {
	text, err := readCatalogueFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the catalogue: %w", err)
	}
	return parseCatalogue(path, text, folderPictures(filepath.Join(filepath.Dir(path), pictureFolder)))
}

// readCatalogueFile reads a file of at most maxCatalogueBytes.
func readCatalogueFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxCatalogueBytes+1))
	if err == nil && len(text) > maxCatalogueBytes {
		err = fmt.Errorf("%s is larger than %d KB: is it a catalogue?", path, maxCatalogueBytes>>10)
	}
	return text, err
}
