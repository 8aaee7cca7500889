package orderservice

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"bramble/node/orders"
)

const (
	// receiptPurpose is the purpose of the keys that sign receipts, and originPurpose of the mark in a
	// receipt's address: see markOrigin.
	receiptPurpose = "receipt address"
	originPurpose  = "receipt origin"
	// referencePurpose is the purpose of the key by which a reference follows from a form's token.
	referencePurpose = "order reference"
	// confirmPurpose is the purpose of the keys that sign the links by which orders are confirmed.
	confirmPurpose = "order confirmation"
	// signSize is the length of a receipt's MAC in bytes: 128 bits cannot be guessed. As text it has
	// macLetters, and the mark after it originLetters.
	signSize      = 16
	macLetters    = 26
	originLetters = 7
	// mailboxMark ends the token of a confirmed order's receipt: the token of the form that made it opens nothing any more.
	mailboxMark = "m"
)

// signer makes the part of a receipt's address that cannot be guessed.
type signer struct{ key []byte }

// signID signs an order and the mark that follows in its token, which may be empty.
func (s signer) signID(id orders.ID, mark string) string {
	mac := hmac.New(sha256.New, s.key)
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(id))
	mac.Write(b[:])
	mac.Write([]byte(mark))
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(mac.Sum(nil)[:signSize])
	return strings.ToLower(text)
}

// hasSigned reports whether one of the keys signed an order's token, in constant time for each.
func hasSigned(keys [][]byte, id orders.ID, token string) bool {
	mark := token[min(macLetters, len(token)):]
	return slices.ContainsFunc(keys, func(key []byte) bool { return hmac.Equal([]byte(signer{key}.signID(id, mark)+mark), []byte(token)) })
}

// deriveKey derives the key of a purpose. It remembers each: at most orders.MaxReceiptKeys and the rack's
// keys, for each purpose.
func (s *Service) deriveKey(secret []byte, purpose string) []byte {
	name := purpose + " " + string(secret)
	if key, ok := s.derived.Load(name); ok {
		return key.([]byte)
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "bramble "+purpose+" 1", sha256.Size)
	if err != nil {
		panic(err) // only for a key longer than 255 hashes; this one is one hash long
	}
	s.derived.Store(name, key)
	return key
}

func (s *Service) deriveRackKeys(purpose string) (keys [][]byte) {
	for _, key := range s.cfg.Keys {
		keys = append(keys, s.deriveKey(key, purpose))
	}
	return keys
}

// KeysFor returns 32-byte keys for one purpose, the same on every board: the first makes new MACs, and all
// verify. Other purposes have other keys. They come from the ledger's secrets that have not ended; before
// the ledger has one, from the rack's keys.
func (s *Service) KeysFor(purpose string) [][]byte {
	keys := s.ledgerKeys(purpose, false)
	if !s.cfg.Book.HasSecret() {
		keys = append(s.deriveRackKeys(purpose), keys...)
	}
	return keys
}

// ledgerKeys returns the keys of the ledger's own secrets, newest first, and for receipts those from before secrets.
func (s *Service) ledgerKeys(purpose string, isEnded bool) (keys [][]byte) {
	for _, k := range slices.Backward(s.cfg.Book.ReceiptKeys()) {
		switch {
		case k.Ended != isEnded:
		case k.Own:
			keys = append(keys, s.deriveKey(k.Key[:], purpose))
		case purpose == receiptPurpose:
			keys = append(keys, k.Key[:])
		}
	}
	return keys
}

// SignConfirmation returns the token in the link by which an order is confirmed.
func (s *Service) SignConfirmation(id orders.ID) string {
	return signer{s.KeysFor(confirmPurpose)[0]}.signID(id, "")
}

// VerifyConfirmation reports whether a token is that of SignConfirmation.
func (s *Service) VerifyConfirmation(id orders.ID, token string) bool {
	return hasSigned(s.KeysFor(confirmPurpose), id, token)
}

// Reference returns the reference of the order that a product's form with a token makes or, under a secret from
// before a new one, has made. hasEnded: that secret's links have ended, so it may be known, and who knows it can
// choose a token that leads to anybody's order. At most orders.MaxReceiptKeys are looked up, one after a first secret.
func (s *Service) Reference(product, token string, attempt int) (id orders.ID, hasEnded bool) {
	live := s.KeysFor(referencePurpose)
	newest := deriveReference(live[0], product, token, attempt)
	all := append(live, s.ledgerKeys(referencePurpose, true)...)
	if len(all) == 1 {
		return newest, false
	}
	for i, key := range all {
		id := deriveReference(key, product, token, attempt)
		if _, err := s.cfg.Book.Order(id); err == nil {
			return id, i >= len(live)
		}
	}
	return newest, false
}

func deriveReference(key []byte, product, token string, attempt int) orders.ID {
	for try := 0; ; try++ {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s\n%s\n%d %d", product, token, attempt, try)
		if id := orders.ID(binary.BigEndian.Uint64(mac.Sum(nil))) & orders.MaxID; id.Valid() {
			return id
		}
	}
}

// Sign returns the token in the address of an order's receipt: of the form that made it or, once it is confirmed, of its mailbox.
func (s *Service) Sign(id orders.ID, isConfirmed bool) string {
	mark := s.markOrigin(s.cfg.Keys[0], id)
	if isConfirmed {
		mark += mailboxMark
	}
	return signer{s.KeysFor(receiptPurpose)[0]}.signID(id, mark) + mark
}

// markOrigin returns the end of a token. It opens nothing. It only shows that a board of this rack signed a
// link whose secret is lost with all cards: see noteLostReceipt.
func (s *Service) markOrigin(rackKey []byte, id orders.ID) string {
	return signer{s.deriveKey(rackKey, originPurpose)}.signID(id, "")[:originLetters]
}

// IsOfMailbox reports whether a token that Verify accepts is that of a confirmed order.
func (*Service) IsOfMailbox(token string) bool { return len(token) > macLetters+originLetters }

// Verify reports whether a token is one of an order, see Sign, and has not ended.
func (s *Service) Verify(id orders.ID, token string) bool {
	if hasSigned(s.KeysFor(receiptPurpose), id, token) {
		return true
	}
	isOurs := hasSigned(s.deriveRackKeys(receiptPurpose), id, token) || s.hasMark(id, token) // the first: from before the ledger had a secret
	if _, err := s.cfg.Book.Order(id); isOurs && err != nil && s.Pause() == orders.NotPaused && !s.HasEnded(id, token) {
		s.noteLostReceipt(id)
	}
	return false
}

// HasEnded reports whether a token was one of an order, of its receipt or to confirm it, until an operator ended all links.
// Where the book is full and has dropped ended secrets, the mark of the rack counts.
func (s *Service) HasEnded(id orders.ID, token string) bool {
	return hasSigned(s.ledgerKeys(receiptPurpose, true), id, token) || hasSigned(s.ledgerKeys(confirmPurpose, true), id, token) ||
		len(s.cfg.Book.ReceiptKeys()) == orders.MaxReceiptKeys && s.hasMark(id, token) && !hasSigned(s.KeysFor(receiptPurpose), id, token)
}

// hasMark reports whether a board of this rack marked a token.
func (s *Service) hasMark(id orders.ID, token string) bool {
	mark := token[min(macLetters, len(token)):]
	if s.IsOfMailbox(token) {
		mark = strings.TrimSuffix(mark, mailboxMark)
	}
	return slices.ContainsFunc(s.cfg.Keys, func(key []byte) bool {
		return hmac.Equal([]byte(s.markOrigin(key, id)), []byte(mark))
	})
}

// newReceiptSecret returns the command that gives the ledger a new secret.
func newReceiptSecret(by orders.Operation) orders.SetReceiptSecret {
	c := orders.SetReceiptSecret{Operation: by}
	rand.Read(c.Secret[:]) // never fails
	return c
}

// renewLinks gives the ledger a new secret. With Revoke all links from before end. With DryRun it only counts.
func (s *Service) renewLinks(ctx context.Context, o OperatorCommand) (result OperatorResult, err error) {
	if err := s.awaitBarrier(ctx); err != nil {
		return result, err
	}
	text, links, mails := "Links from before stay valid.", 0, 0
	if o.Revoke {
		if mails, err = s.cfg.Book.CountLinkMails(); err != nil {
			return result, err
		}
		links = int(s.cfg.Book.Count())
		text = fmt.Sprintf("Links of receipts that end: %d. Mails with the new link: %d, one a second. The other buyers ask the shop: bramble orders show REF --link", links, mails)
	}
	if o.DryRun {
		return OperatorResult{Text: "Nothing changed (dry run). " + text, Links: links, Mails: mails}, nil
	}
	c := newReceiptSecret(orders.Operation{Operator: o.Operator, OpID: o.OpID})
	c.Revoke = o.Revoke
	if result, err = s.submitOperation(ctx, o, c); err == nil {
		result.Text, result.Links, result.Mails = "Done. A new secret signs the links of receipts. "+text, links, mails
	}
	return result, err
}
