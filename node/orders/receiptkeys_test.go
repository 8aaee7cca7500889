package orders

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

func secretOf(n byte) [32]byte { return [32]byte{n, 31: 1} }

// wantKeys checks the first bytes of the keys that are accepted and that have ended, oldest first.
func (d *testBook) wantKeys(accepted, ended string) {
	d.t.Helper()
	var gotAccepted, gotEnded []byte
	for _, k := range d.book.ReceiptKeys() {
		if k.Ended {
			gotEnded = append(gotEnded, k.Key[0])
		} else {
			gotAccepted = append(gotAccepted, k.Key[0])
		}
	}
	if string(gotAccepted) != accepted || string(gotEnded) != ended {
		d.t.Errorf("accepted %q, ended %q; want %q and %q", gotAccepted, gotEnded, accepted, ended)
	}
}

func TestReceiptSecrets(t *testing.T) {
	d := newTestBook(t)
	first := SetReceiptSecret{Operation: d.by(), Secret: secretOf('a'), Former: [][32]byte{secretOf('r')}, First: true}
	empty := newTestBook(t)
	empty.want(Done, first)
	empty.wantKeys("a", "") // no link was signed before the first order

	d.rules = 2
	o := d.someOffer()
	o.Mail = true
	d.want(Done, o)
	d.want(Malformed, first)
	d.want(Placed, d.newOrder(1, KindOrder))
	d.rules = 3
	d.want(Done, first)
	d.want(AlreadyDone, SetReceiptSecret{Operation: d.by(), Secret: secretOf('x'), First: true})
	d.wantKeys("ra", "")
	d.want(Done, SetReceiptSecret{Operation: d.by(), Secret: secretOf('b')})
	d.wantKeys("rab", "")
	copied := openBook(t)
	if err := copied.Restore(bytes.NewReader(dump(t, d.book))); err != nil || !slices.Equal(copied.ReceiptKeys(), d.book.ReceiptKeys()) {
		t.Errorf("the snapshot has %v, %v", copied.ReceiptKeys(), err)
	}
	d.want(Done, SetReceiptSecret{Operation: d.by(), Secret: secretOf('c'), Revoke: true})
	d.wantKeys("c", "rab")
	for range MaxReceiptKeys - 1 { // the ended ones make room
		d.want(Done, SetReceiptSecret{Operation: d.by(), Secret: secretOf('d')})
	}
	if keys := d.book.ReceiptKeys(); len(keys) != MaxReceiptKeys || keys[0].Key[0] != 'c' || keys[0].Ended {
		t.Errorf("%d keys, the first %+v", len(keys), keys[0])
	}
	d.want(Full, SetReceiptSecret{Operation: d.by(), Secret: secretOf('e')})
	d.want(Done, SetReceiptSecret{Operation: d.by(), Secret: secretOf('f'), Revoke: true})
	if k := d.book.ReceiptKeys(); k[len(k)-1] != (ReceiptKey{secretOf('f'), true, false}) || !k[len(k)-2].Ended {
		t.Error("the last key is not the one that signs")
	}
	d.recount()
}

// Each live order whose sale has mail gets one mail with its new link, one second after the other.
func TestEndedLinksAreMailed(t *testing.T) {
	d := newTestBook(t)
	o := d.someOffer()
	o.Mail, o.Stock = true, 1000
	d.want(Done, o)
	silent := d.someOffer()
	silent.Product, silent.Mail = "silent", false
	d.want(Done, silent)
	const live = 2*maxTickWork + 1
	var ids []ID
	for n := range live + 2 {
		c := d.newOrder(n, KindOrder)
		ids = append(ids, c.ID)
		d.want(Placed, c)
		if n != 5 { // one mail has not been sent yet
			d.want(Done, FinishMail{c.ID, JobMailPlaced})
		}
	}
	d.want(Done, Erase{Operation: d.by(), ID: ids[live]})
	d.want(Done, Cancel{ID: ids[live+1]})
	d.want(Done, FinishMail{ids[live+1], JobMailCancelled})
	unmailed := d.newOrder(live+5, KindOrder)
	unmailed.Product = "silent"
	d.want(Placed, unmailed)
	if n, err := d.book.CountLinkMails(); n != live || err != nil {
		t.Errorf("%d mails, %v; want %d", n, err, live)
	}
	d.want(Done, SetReceiptSecret{Operation: d.by(), Secret: secretOf('c'), Revoke: true})
	for range 10 {
		if at, any := d.book.Due(); any && !at.After(d.now) {
			d.want(Done, Tick{})
		}
	}
	if at, any := d.book.Due(); any && !at.After(d.now) {
		t.Error("still due")
	}
	sent := map[ID]bool{}
	var last Job
	for {
		jobs, err := d.book.Outbox(QueueMail, d.now.Add(time.Hour), last, MaxPage)
		if err != nil {
			t.Fatal(err)
		}
		if len(jobs) == 0 {
			break
		}
		for _, j := range jobs {
			if j.Kind == JobMailLink && (!j.Since.After(d.now) || j.Since.Before(last.Since.Add(linkMailInterval)) && last.Kind == JobMailLink) {
				t.Errorf("due at %v after %v", j.Since, last.Since)
			}
			if (j.Kind == JobMailPlaced) != (j.Order.ID == ids[5]) || sent[j.Order.ID] || !j.Kind.IsMail() {
				t.Errorf("%v about %v", j.Kind, j.Order.ID)
			}
			last, sent[j.Order.ID] = j, true
		}
	}
	if len(sent) != live {
		t.Errorf("%d mails, want %d", len(sent), live)
	}
	d.want(Done, FinishMail{ids[0], JobMailLink})
	d.recount()
}
