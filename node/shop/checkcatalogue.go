package shop

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"bramble/node/orders"
	"bramble/node/orders/draw"
	"bramble/node/tomlfile"
)

// checker turns the raw file into a catalogue. It reports the first mistake and continues
// with default values after it, so that the rules below read as a plain list.
type checker struct {
	file        string
	lines       tomlfile.Lines
	findPicture pictureFinder
	err         *CatalogueError
}

// checkCatalogue returns the catalogue of a raw file, or the first mistake in it.
func checkCatalogue(file string, lines tomlfile.Lines, raw *rawCatalogue, find pictureFinder) (*Catalogue, error) {
	c := &checker{file: file, lines: lines, findPicture: find}
	cat := &Catalogue{
		Name:     c.checkText("name", raw.Name, maxName),
		Tagline:  c.checkText("tagline", raw.Tagline, maxSentence),
		Currency: c.checkText("currency", raw.Currency, maxName),
		TaxNote:  c.checkText("tax_note", raw.TaxNote, maxSentence),
	}
	if _, _, ok := currencyForm(cat.Currency); !ok {
		c.addError("currency", fmt.Sprintf("%q is not a currency that the shop knows", clipPrintable(cat.Currency)))
	}
	if raw.Notice != nil {
		cat.Notice = c.checkText("notice", raw.Notice, maxSentence)
	}
	c.requireOne("seller", len(raw.Seller.Address)+countPresent(raw.Seller.Name)+countPresent(raw.Seller.Email))
	cat.Seller = Seller{
		Name:    c.checkText("seller.name", raw.Seller.Name, maxName),
		Address: c.checkTexts("seller.address", raw.Seller.Address, maxAddressLines, maxName),
		Email:   c.checkSellerEmail("seller.email", raw.Seller.Email),
	}
	c.checkShipping(cat, raw.Shipping)
	c.checkAnnouncements(cat, raw.Announcement)
	c.checkProducts(cat, raw.Product)
	if c.err != nil {
		return nil, c.err
	}
	return cat, nil
}

func countPresent(s *string) int {
	if s == nil {
		return 0
	}
	return 1
}

// addError records a mistake, unless there is one already. path has indices: "product.1.price".
func (c *checker) addError(path, problem string) {
	if c.err == nil {
		key := withoutIndexes(path)
		c.err = &CatalogueError{File: c.file, Line: c.lines.Nearest(path), Key: key, Problem: problem, Remedy: remedyFor(key)}
	}
}

func (c *checker) requireOne(path string, n int) {
	if n == 0 {
		c.addError(path, "missing")
	}
}

// limitList rejects a list that is too long and cuts it, so that further checks stay cheap.
func limitList[T any](c *checker, path string, list []T, most int) []T {
	if len(list) > most {
		c.addError(path, fmt.Sprintf("there are %d", len(list)))
		return list[:most]
	}
	return list
}

// checkText returns a line of text: present, not blank, not too long, all printable.
func (c *checker) checkText(path string, s *string, most int) string {
	switch {
	case s == nil:
		c.addError(path, "missing")
		return ""
	case strings.TrimSpace(*s) == "":
		c.addError(path, "empty")
	case len(*s) > most:
		c.addError(path, fmt.Sprintf("%d bytes long, and at most %d are allowed", len(*s), most))
	case strings.ContainsFunc(*s, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }):
		c.addError(path, "it contains a line break or another control character")
	}
	return strings.TrimSpace(*s)
}

// checkTexts returns a list of at least one line of text.
func (c *checker) checkTexts(path string, list []string, most, long int) []string {
	c.requireOne(path, len(list))
	list = limitList(c, path, list, most)
	var out []string
	for i := range list {
		// The remedy is that of the list: an element has no key of its own.
		out = append(out, c.checkText(fmt.Sprintf("%s.%d", path, i), &list[i], long))
	}
	return out
}

// checkSellerEmail requires only what a mailto: link needs: no rule can decide whether mail arrives.
func (c *checker) checkSellerEmail(path string, s *string) string {
	e := c.checkText(path, s, maxName)
	name, host, ok := strings.Cut(e, "@")
	if !ok || name == "" || host == "" || strings.ContainsAny(e, " <>\"?&#%/:") {
		c.addError(path, "not a plain e-mail address")
	}
	return e
}

func (c *checker) checkMoney(path string, s *string, currency string) Money {
	if s == nil {
		c.addError(path, "missing")
		return Money{}
	}
	m, err := parseMoney(*s, currency)
	if errors.Is(err, errAmount) {
		c.addError(path, fmt.Sprintf("%q is not an amount in %s", clipPrintable(*s), currency))
	}
	return m
}

func (c *checker) checkNumber(path string, n *int64, least, most int64) int {
	if n == nil {
		c.addError(path, "missing")
		return 0
	}
	if *n < least || *n > most {
		c.addError(path, fmt.Sprintf("%d is out of range", *n))
		return 0
	}
	return int(*n)
}

// checkPercent returns a percentage in hundredths of a percent: 1900 for "19" or "19.00".
func (c *checker) checkPercent(path, text string) int {
	whole, fraction, dotted := strings.Cut(text, ".")
	if whole == "" || !allDigits(whole+fraction) || dotted && (fraction == "" || len(fraction) > 2) || len(whole) > 3 {
		c.addError(path, fmt.Sprintf("%q is not a percentage", clipPrintable(text)))
		return 0
	}
	n, err := strconv.Atoi(whole + (fraction + "00")[:2])
	if err != nil || n > maxTax {
		c.addError(path, fmt.Sprintf("%s %% is out of range", text))
		return 0
	}
	return n
}

// checkTime returns a time that states its zone: the sale of 2012 opened at 06:00, and many
// buyers did not know in which zone.
func (c *checker) checkTime(path string, v any) time.Time {
	t, ok := v.(time.Time)
	switch {
	case v == nil:
		c.addError(path, "missing")
	case !ok:
		c.addError(path, "not a time with its zone")
	case t.Nanosecond() != 0 || t.Year() < 1970 || t.UTC().Year() > 9999:
		c.addError(path, "not a whole second after 1970")
	}
	return t.UTC()
}

// checkSaleTime returns a time that the order book accepts for a sale.
func (c *checker) checkSaleTime(path string, v any) time.Time {
	t := c.checkTime(path, v)
	if t.Year() < firstYear || t.Year() > lastYear {
		c.addError(path, fmt.Sprintf("not between the years %d and %d", firstYear, lastYear))
	}
	return t
}

func (c *checker) checkShipping(cat *Catalogue, raw []rawShipping) {
	c.requireOne("shipping", len(raw))
	raw = limitList(c, "shipping", raw, orders.MaxCountries)
	for i, r := range raw {
		at := fmt.Sprintf("shipping.%d.", i)
		s := Shipping{
			Country: c.checkText(at+"country", r.Country, maxName),
			Name:    c.checkText(at+"name", r.Name, maxName),
			Price:   c.checkMoney(at+"price", r.Price, cat.Currency),
		}
		if r.TaxPercent != nil {
			s.Tax = c.checkPercent(at+"tax_percent", *r.TaxPercent)
		}
		if len(s.Country) != 2 || strings.Trim(s.Country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			c.addError(at+"country", fmt.Sprintf("%q is not a country code", clipPrintable(s.Country)))
		}
		if cat.shippingTo(s.Country) != nil {
			c.addError(at+"country", s.Country+" appears twice")
		}
		cat.Shipping = append(cat.Shipping, s)
	}
}

// shippingTo returns a country by its code; nil if the shop does not deliver there.
func (c *Catalogue) shippingTo(country string) *Shipping {
	i := slices.IndexFunc(c.Shipping, func(s Shipping) bool { return s.Country == country })
	if i < 0 {
		return nil
	}
	return &c.Shipping[i]
}

func (c *checker) checkAnnouncements(cat *Catalogue, raw []rawAnnouncement) {
	raw = limitList(c, "announcement", raw, maxAnnouncements)
	for i, r := range raw {
		at := fmt.Sprintf("announcement.%d.", i)
		cat.Announcements = append(cat.Announcements, Announcement{
			Time: c.checkTime(at+"time", r.Time),
			Text: c.checkText(at+"text", r.Text, maxSentence),
		})
	}
	slices.SortStableFunc(cat.Announcements, func(a, b Announcement) int { return a.Time.Compare(b.Time) })
}

func (c *checker) checkProducts(cat *Catalogue, raw []rawProduct) {
	c.requireOne("product", len(raw))
	raw = limitList(c, "product", raw, maxProducts)
	for i := range raw {
		p := c.checkProduct(fmt.Sprintf("product.%d.", i), cat, &raw[i])
		if slices.ContainsFunc(cat.Products, func(q Product) bool { return q.Slug == p.Slug }) {
			c.addError(fmt.Sprintf("product.%d.slug", i), clipPrintable(p.Slug)+" appears twice")
		}
		cat.Products = append(cat.Products, p)
	}
}

func (c *checker) checkProduct(at string, cat *Catalogue, r *rawProduct) Product {
	p := Product{
		Slug:        c.checkSlug(at+"slug", r.Slug),
		Name:        c.checkText(at+"name", r.Name, maxName),
		Tagline:     c.checkText(at+"tagline", r.Tagline, maxSentence),
		Description: c.checkTexts(at+"description", r.Description, maxParagraphs, maxParagraph),
		Price:       c.checkMoney(at+"price", r.Price, cat.Currency),
		Stock:       c.checkNumber(at+"stock", r.Stock, 0, maxStock),
		PerPerson:   c.checkNumber(at+"limit_per_person", r.PerPerson, 1, orders.MaxLimit),
	}
	if r.Opens != nil {
		p.Opens = c.checkSaleTime(at+"opens", r.Opens)
	}
	c.checkSaleTerms(at, &p, r)
	if r.State != nil {
		p.Override, _ = orders.ParseSaleState(*r.State)
		if p.Override != orders.SaleClosed && p.Override != orders.SaleSoldOut {
			c.addError(at+"state", fmt.Sprintf("%q cannot be set by hand", clipPrintable(*r.State)))
		}
		if p.Mode == orders.Ballot {
			c.addError(at+"state", "a ballot's state follows from opens and closes")
		}
	}
	if r.Picture != nil {
		p.Picture = c.checkPicture(at+"picture", *r.Picture, cat)
		p.PictureAlt = c.checkText(at+"picture_alt", r.PictureAlt, maxSentence)
	}
	for i, row := range limitList(c, at+"specification", r.Specification, maxRows) {
		at := fmt.Sprintf("%sspecification.%d.", at, i)
		p.Specification = append(p.Specification, SpecificationRow{
			Name:  c.checkText(at+"name", row.Name, maxName),
			Value: c.checkText(at+"value", row.Value, maxSentence),
		})
	}
	return p
}

func (c *checker) checkSaleTerms(at string, p *Product, r *rawProduct) {
	p.Mode, p.LimitByAddress, p.FulfilmentDelay = orders.FirstCome, true, defaultFulfilmentDelay
	if r.Mode != nil {
		var err error
		if p.Mode, err = orders.ParseMode(*r.Mode); err != nil {
			c.addError(at+"mode", fmt.Sprintf("%q is not a mode of sale", clipPrintable(*r.Mode)))
		}
	}
	if r.Closes != nil {
		p.Closes = c.checkSaleTime(at+"closes", r.Closes)
		if !p.Closes.After(p.Opens) {
			c.addError(at+"closes", "the sale would close before it opens")
		}
	} else if p.Mode == orders.Ballot {
		c.addError(at+"closes", "missing (a ballot is drawn after it closes)")
	}
	if r.Opens == nil && p.Mode == orders.Ballot {
		c.addError(at+"opens", "missing (a ballot's commitment is published before it opens)")
	}
	if r.WaitingList != nil {
		p.WaitingList = *r.WaitingList
		if p.WaitingList && p.Mode == orders.Interest {
			c.addError(at+"waiting_list", "an interest list is already a waiting list")
		}
	}
	if r.LimitByAddress != nil {
		p.LimitByAddress = *r.LimitByAddress
	}
	if r.FulfilmentDelay != nil {
		d, err := time.ParseDuration(*r.FulfilmentDelay)
		if err != nil || d < 0 || d > maxFulfilmentDelay || d%time.Second != 0 {
			c.addError(at+"fulfilment_delay", fmt.Sprintf("%q is not a delay", clipPrintable(*r.FulfilmentDelay)))
		}
		p.FulfilmentDelay = d
	}
	if r.InvitationTime != nil {
		d, err := time.ParseDuration(*r.InvitationTime)
		if err != nil || d != 0 && d < time.Minute || d > maxFulfilmentDelay || d%time.Second != 0 {
			c.addError(at+"invitation_time", fmt.Sprintf("%q is not such a time", clipPrintable(*r.InvitationTime)))
		}
		if p.InvitationTime = d; d == 0 {
			p.InvitationTime = orders.InviteByHand
		}
	}
	if r.Confirm != nil {
		d, err := time.ParseDuration(*r.Confirm)
		if *r.Confirm == "off" {
			d, err = orders.ConfirmOff, nil
		} else if err != nil || d < time.Minute || d > maxFulfilmentDelay || d%time.Second != 0 {
			c.addError(at+"confirm", fmt.Sprintf("%q is not such a time", clipPrintable(*r.Confirm)))
		}
		p.Confirm = d
	}
	if r.Draw != nil {
		if p.Mode != orders.Ballot {
			c.addError(at+"draw", "only a ballot has a draw")
		}
		switch kind := draw.Kind(*r.Draw); kind {
		case draw.Dice, draw.Drand:
			p.Draw = kind
		case drawCommitment:
		default:
			c.addError(at+"draw", fmt.Sprintf("%q is not a method of drawing", clipPrintable(*r.Draw)))
		}
	}
	if p.Draw == draw.Dice {
		p.Dice = c.checkNumber(at+"dice", cmp.Or(r.Dice, new(int64(draw.DefaultDice))), draw.LeastDice, draw.MostDice)
	} else if r.Dice != nil {
		c.addError(at+"dice", "only a draw by dice has it")
	}
}

// checkSlug returns a slug that can stand in a URL.
func (c *checker) checkSlug(path string, s *string) string {
	slug := c.checkText(path, s, orders.MaxProduct)
	if strings.Trim(slug, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.Trim(slug, "-") != slug {
		c.addError(path, fmt.Sprintf("%q cannot be part of a URL as it is", clipPrintable(slug)))
	}
	return slug
}

// checkPicture adds a picture and returns its URL path.
func (c *checker) checkPicture(path, name string, cat *Catalogue) string {
	if !isPlainName(name) || pictureType(name) == "" {
		c.addError(path, fmt.Sprintf("%q is not the name of a picture", clipPrintable(name)))
		return ""
	}
	url, err := cat.addPicture(name, c.findPicture)
	if err != nil {
		c.addError(path, fmt.Sprintf("%q: %v", name, err))
	}
	return url
}

// withoutIndexes returns a path in the form of the file's key: "product.price".
func withoutIndexes(path string) string {
	var keys []string
	for key := range strings.SplitSeq(path, ".") {
		if key == "" || !allDigits(key) {
			keys = append(keys, key)
		}
	}
	return strings.Join(keys, ".")
}
