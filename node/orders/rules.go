package orders

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"
)

// Every rule that decides what a command does, and that can change, is in a ruleSet. A rack whose
// boards have different programs, and a log that is applied again, must give the same answers. So:
//
// To change a rule (an e-mail's normal form, a limit, what a Tick does, a new command, a new field
// of a stored record), raise MaxRules, give rulesOf the new version, and keep the old one: the ledger
// applies a command under the version that it was proposed under, for ever. The version in force
// rises when every board of the rack knows the new one. rules_test.go has a hash of what each
// version makes of many inputs, and fails when an old version changes.
//
// What cannot be versioned: Unicode's tables, which come with the compiler and with
// golang.org/x/text. The hashes in rules_test.go show when an update changes them for the
// letters of its inputs.

// MaxRules is the highest version of the rules that this program knows.
const MaxRules uint32 = 3

// RestoreRules is the version from which there is a restore and a ReviseOffer, and a Tick can have an Until. TrustRules is that of a
// SetReceiptSecret, an Offer with Dice or Confirm, a Tick with Boards and a PlaceOrder that is Unheld or FromReceipt or has a Network.
const RestoreRules, TrustRules = 2, 3

type ruleSet struct {
	version uint32
	// form is the first byte of stored orders and sales, and of the book's own record. The digest
	// covers the stored sales, so it is part of the rules.
	form     byte
	lastOp   byte // the highest type of command
	lastMail JobKind
	maxSales int
	maxAudit uint64
	// normalEmail, addressText and personText give the texts whose fingerprints are compared; mail
	// goes to the address as it was typed: see mailboxText. Rules 2 ignore characters that nobody sees in it, such as
	// a zero-width space.
	normalEmail func(string) string
	addressText func(*Person) []byte
	personText  func(*Person) []byte
	// countsRefusals: a refused command leaves no trace except its entry in the audit trail,
	// which counts repetitions. Before, each was remembered and had an entry.
	countsRefusals bool
	// skipsHead: an Invite skips people who want more than is free. Before, it ended there.
	skipsHead bool
	// notifiesCancel: the fulfiller is told of cancelled orders.
	notifiesCancel bool
	// isNeutral: the person's earlier orders decide last, and are told of only to the form that made them.
	isNeutral bool
	// limitsMail: see maxMailsPerHour.
	limitsMail bool
	// drawVersion is that of a new ballot's draw: see draw.File. In 3 the list, with the promise and the boards' own clocks, is
	// fixed before the randomness is taken, and then neither an entry nor a time changes, also if the clock is set back.
	drawVersion int
}

// rulesOf returns the rules of a version, from 1 to MaxRules.
func rulesOf(version uint32) ruleSet {
	r := ruleSet{
		version: 1, form: recordForm1, lastOp: opTick, lastMail: JobMailCancelled, maxSales: 64, maxAudit: 50_000,
		normalEmail: normalEmail1, addressText: addressText1, personText: personText1,
		drawVersion: 1,
	}
	if version >= 2 {
		r.version, r.form, r.lastOp, r.lastMail, r.maxSales, r.maxAudit = 2, recordForm2, opCancelRestore, JobMailReturned, MaxSales, MaxAudit
		r.normalEmail = func(email string) string { return normalEmail1(withoutInvisible(email)) }
		r.countsRefusals, r.skipsHead, r.notifiesCancel = true, true, true
	}
	if version >= 3 {
		r.version, r.form, r.lastOp, r.lastMail = 3, recordForm3, opPlaceUnheld, JobMailConfirm
		r.isNeutral, r.limitsMail, r.drawVersion = true, true, 3
	}
	return r
}

// withoutInvisible removes the characters that have no width: Unicode's category Cf.
func withoutInvisible(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.Is(unicode.Cf, c) {
			return -1
		}
		return c
	}, s)
}

func (r *ruleSet) fingerprintsOf(p *Person) fingerprints {
	return fingerprints{
		email:   fingerprintOf([]byte(r.normalEmail(p.Email))),
		mailbox: fingerprintOf([]byte(mailboxText(p.Email))),
		address: fingerprintOf(r.addressText(p)),
		person:  fingerprintOf(r.personText(p)),
	}
}

// erasesTogether reports whether an Erase of an e-mail address reaches another that counts as the same person: until rules 3, any.
func (r *ruleSet) erasesTogether(a, b string) bool {
	return r.version < 3 || mailboxText(a) == mailboxText(b)
}

// knows reports whether the rules have a command. A rack must answer one that they do not have as its
// oldest program does.
func (r *ruleSet) knows(op byte, c Command) bool {
	mail, isMail := c.(FinishMail)
	return op <= r.lastOp && (!isMail || mail.Kind <= r.lastMail)
}

// CatalogueOperator is the operator of what follows from the catalogue, and ledgerOperator of
// what the book does itself.
const (
	CatalogueOperator = "catalogue"
	ledgerOperator    = "ledger"
)

// rulesInForce begins the entry of the audit trail about a higher version of the rules.
const rulesInForce = "rules in force: "

// raiseRules begins to apply a higher version of the rules.
func (a *applyTx) raiseRules(to uint32) {
	before := a.rules
	for a.rules.version < to && a.err == nil {
		a.rules = rulesOf(a.rules.version + 1)
		a.b.meta.rules = a.rules.version
		for _, s := range a.b.sales {
			if a.rules.version == 2 {
				s.Invitations = invitationsOf(0, s.WaitingList, s.Mode)
				a.touch(s)
			}
			a.promiseDraw(s)
		}
		if len(a.b.sales) > 0 { // a new ledger begins with the newest rules
			a.appendAudit(ledgerOperator, rulesInForce+fmt.Sprint(a.rules.version))
		}
	}
	if before.version < a.rules.version {
		a.reindexPeople(&before)
	}
}

// reindexPeople moves the index entries of the people whose fingerprints change with the rules, so that a
// person with an order from before is found. It compares the fingerprints of every order under both rules,
// so that no rule can forget to say whom it changes. It reads all orders once for all versions that the rules
// rise by: with 300,000 about a minute on an original board. A person who was two under the old rules may exceed the limit now.
func (a *applyTx) reindexPeople(old *ruleSet) {
	c := a.orders.Cursor()
	var changed []uint64
	for k, v := c.First(); k != nil; k, v = c.Next() {
		o, err := decodeOrder(v)
		if err != nil {
			a.fail(fmt.Errorf("%w: order number %d cannot be read: %w", ErrBroken, binary.BigEndian.Uint64(k), err))
			return
		}
		if o.State != StateErased && old.fingerprintsOf(&o.Person) != a.rules.fingerprintsOf(&o.Person) {
			changed = append(changed, o.Number)
		}
	}
	for _, number := range changed {
		o := a.orderByNumber(number)
		if o == nil {
			return
		}
		s := a.b.sales[o.sale]
		before := *o
		before.fingerprints, o.fingerprints = old.fingerprintsOf(&o.Person), a.rules.fingerprintsOf(&o.Person)
		a.remove(a.people, personKey(&before))
		a.put(a.people, personKey(o), personValue(o))
		if s.LimitByAddress && o.isLive() {
			a.remove(a.addresses, addressKey(&before))
			a.put(a.addresses, addressKey(o), uint32Value(o.Quantity))
		}
		s.overLimit = true
		a.touch(s)
	}
}
