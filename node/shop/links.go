package shop

import "bramble/node/orders"

// ReceiptPath is where a paper's receipt is, on every board: the reference, which
// people read to each other, and the token that nobody can guess (see Desk.Sign).
func ReceiptPath(id orders.ID, token string) string {
	return "/r/" + id.String() + "/" + token
}

// Title is a product's name for people, or its slug if the catalogue does not have it.
func (c *Catalogue) Title(slug string) string {
	for i := range c.Products {
		if c.Products[i].Slug == slug {
			return c.Products[i].Name
		}
	}
	return slug
}
