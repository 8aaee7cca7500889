// Package shoptest has the catalogue of a small shop, for the tests of other packages.
package shoptest

// Catalogue returns the TOML of a catalogue with one product, berry, for £10.00. The product's other keys follow: at
// least stock and limit_per_person.
func Catalogue(product string) string {
	return `name = "The test shop"
tagline = "Berries"
currency = "GBP"
tax_note = "Tax is in the price."
[seller]
name = "A hedge"
address = ["1 Lane"]
email = "hedge@shop.example"
[[shipping]]
country = "GB"
name = "United Kingdom"
price = "2.00"
[[product]]
slug = "berry"
name = "Berry"
tagline = "One"
description = ["A berry."]
price = "10.00"
` + product
}
