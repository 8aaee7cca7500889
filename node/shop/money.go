package shop

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxMinor limits one amount, in minor units. The sum of two amounts, and an amount times
// any limit per person, are far below the limits of an int64.
const maxMinor = 100_000_000_000

// Money is an amount in whole minor units (cents, pence; yen, which has none). It never
// becomes a floating-point number.
type Money struct {
	Minor    int64  // 0 to maxMinor as parsed; a sum may be twice that
	Currency string // ISO 4217 code, such as "USD"
}

// currencyForm returns how amounts of a currency are written: the sign before the number,
// and the digits of the minor unit (ISO 4217). ok is false for a currency that the shop does
// not know: a wrong guess of the digits would make a price a hundred times too high or low.
func currencyForm(code string) (sign string, digits int, ok bool) {
	switch code {
	case "USD":
		return "US$", 2, true
	case "AUD":
		return "A$", 2, true
	case "CAD":
		return "C$", 2, true
	case "NZD":
		return "NZ$", 2, true
	case "EUR":
		return "€", 2, true
	case "GBP":
		return "£", 2, true
	case "INR":
		return "₹", 2, true
	case "JPY":
		return "¥", 0, true
	case "KRW":
		return "₩", 0, true
	case "BRL", "CHF", "CNY", "CZK", "DKK", "HKD", "HUF", "ILS", "MXN", "NOK", "PLN",
		"RON", "SEK", "SGD", "THB", "TRY", "TWD", "ZAR":
		// A no-break space keeps the code and the number on one line.
		return code + "\u00a0", 2, true
	case "BHD", "JOD", "KWD", "TND":
		return code + "\u00a0", 3, true
	}
	return "", 0, false
}

var errCurrency = errors.New("not a currency that the shop knows")

var errAmount = errors.New("not an amount")

// parseMoney parses a decimal amount such as "35.00" or "35". It is strict: digits, and
// either no fraction or as many digits as the currency has; no sign, grouping or exponent.
// The error is errCurrency or errAmount.
func parseMoney(amount, currency string) (Money, error) {
	_, digits, ok := currencyForm(currency)
	if !ok {
		return Money{}, fmt.Errorf("currency %q: %w", currency, errCurrency)
	}
	whole, fraction, dotted := strings.Cut(amount, ".")
	if dotted && (digits == 0 || len(fraction) != digits) {
		return Money{}, fmt.Errorf("%q: %w: %s has %d digits after the point", amount, errAmount, currency, digits)
	}
	if !dotted {
		fraction = strings.Repeat("0", digits)
	}
	if whole == "" || !allDigits(whole+fraction) {
		return Money{}, fmt.Errorf("%q: %w: use digits and at most one decimal point", amount, errAmount)
	}
	minor, err := strconv.ParseInt(whole+fraction, 10, 64)
	if err != nil || minor > maxMinor {
		return Money{}, fmt.Errorf("%q: %w: more than %s", amount, errAmount, Money{maxMinor, currency})
	}
	return Money{Minor: minor, Currency: currency}, nil
}

func allDigits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}

// Amount returns the plain decimal, such as "1234.50", which parseMoney reads.
func (m Money) Amount() string {
	_, digits, _ := currencyForm(m.Currency)
	s := strconv.FormatInt(m.Minor, 10)
	if len(s) <= digits {
		s = strings.Repeat("0", digits+1-len(s)) + s
	}
	if digits == 0 {
		return s
	}
	return s[:len(s)-digits] + "." + s[len(s)-digits:]
}

// String returns the amount for people, such as "US$1,234.50".
func (m Money) String() string {
	sign, _, _ := currencyForm(m.Currency)
	whole, fraction, dotted := strings.Cut(m.Amount(), ".")
	whole = groupDigits(whole)
	if dotted {
		whole += "." + fraction
	}
	return sign + whole
}

// groupDigits puts a comma before each group of three digits.
func groupDigits(digits string) string {
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
