package orders

// Split is the price of an order by its parts, in minor units of the sale's currency.
type Split struct {
	Price    int64 // of all units
	Shipping int64
	Tax      int64
	Total    int64
	TaxRate  int // hundredths of a percent, as in Country.Tax
}

// Total returns the price of a quantity sent to a country; false if the sale does not deliver
// there or the quantity is not 1 to MaxLimit. Tax is on price and shipping together, rounded
// half up to a minor unit once for the whole order. All arithmetic is in integers; the
// largest value, 1,001 times MaxAmount times 10,000, is a ninth of the largest int64.
func (s *Sale) Total(country string, quantity int) (Split, bool) {
	return splitTotal(s.Price, s.Countries, country, quantity)
}

func splitTotal(price int64, countries []Country, country string, quantity int) (Split, bool) {
	if quantity < 1 || quantity > MaxLimit {
		return Split{}, false
	}
	for i := range countries {
		c := &countries[i]
		if c.Code != country {
			continue
		}
		t := Split{Price: price * int64(quantity), Shipping: c.Shipping, TaxRate: c.Tax}
		t.Tax = ((t.Price+t.Shipping)*int64(c.Tax) + wholeTax/2) / wholeTax
		t.Total = t.Price + t.Shipping + t.Tax
		return t, true
	}
	return Split{}, false
}

// wholeTax is a tax of 100 %, in the unit of Country.Tax.
const wholeTax = 10_000
