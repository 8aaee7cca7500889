package shop

import "bramble/node/orders"

// ReceiptPath returns the path of an order's receipt, the same on every board: the reference,
// which people can read out, and a token that nobody can guess (see OrderService.Sign).
func ReceiptPath(id orders.ID, token string) string {
	return "/r/" + id.String() + "/" + token
}

// findProduct returns a product; nil if the catalogue does not have it.
func (c *Catalogue) findProduct(slug string) *Product {
	for i := range c.Products {
		if c.Products[i].Slug == slug {
			return &c.Products[i]
		}
	}
	return nil
}

// Title returns a product's name for people, or its slug if it is not in the catalogue.
func (c *Catalogue) Title(slug string) string {
	if p := c.findProduct(slug); p != nil {
		return p.Name
	}
	return slug
}
