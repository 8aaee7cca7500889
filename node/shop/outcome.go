package shop

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"

	"bramble/node/orders"
)

// The texts of the alert above a form whose order was not placed. Each has the person's next
// step, and the form below keeps the typed values.

// describeFailure returns the status code and the alert for an order that the order book
// has not answered.
//
// unsure: this try or an earlier one of the same form may have gone through.
func describeFailure(err error, unsure bool) (int, *formAlert) {
	alert := &formAlert{
		Title: "We cannot tell whether this went through",
		Lines: []string{"The shop lost contact with some of its servers at that moment. Please press the button again: the same form is never accepted twice, and if it did go through you will see its receipt."},
	}
	if errors.Is(err, orders.ErrNotCommitted) && !unsure {
		alert.Title = "Nothing was submitted: please try again"
		alert.Lines = []string{"The shop could not accept it in time. What you typed is still below: press the button again."}
	}
	return http.StatusServiceUnavailable, alert
}

// pauseOf returns the pause that an error of the order service stands for. pause is the one
// that the page state has: the error may be older.
func pauseOf(err error, pause orders.Pause) orders.Pause {
	switch {
	case errors.Is(err, orders.ErrBoardUnfit):
		return orders.PausedBoard
	case pause != orders.NotPaused:
		return pause
	case errors.Is(err, orders.ErrUnavailable):
		return orders.PausedStart
	}
	return orders.PausedRack
}

// describePause returns the alert above the typed values of a form that came while orders were
// paused. unsure: an earlier try of the same form may have gone through.
func describePause(pause orders.Pause, unsure bool) *formAlert {
	alert := &formAlert{Title: "Orders are paused: nothing was taken"}
	switch pause {
	case orders.PausedBoard:
		alert.Title = "Nothing was taken: this server of the shop takes no orders now"
		alert.Lines = []string{"Copy what you typed below, close this page, and open the shop again in a few minutes: its other servers can accept it."}
	case orders.PausedStart:
		alert.Title = "Nothing was taken: the shop is not ready yet"
		alert.Lines = []string{"What you typed is below: leave this page open until it is."}
	default:
		alert.Lines = []string{"What you typed is below, and only there: leave this page open until orders go on."}
	}
	if unsure {
		alert.Title = "We still cannot tell whether this went through"
		alert.Lines = append(alert.Lines, "Your first try may have been stored. To send the same again is safe: it is never accepted twice, and if it did go through you will see its receipt.")
	}
	return alert
}

// describeOutcome turns the order book's answer to an order that it has not accepted into
// the alert above the form, and chooses the form by what the sale accepts now. It returns
// the reply's status code.
func describeOutcome(sale *productSale, seller string, answer orders.Answer, content *formContent) int {
	switch answer.Outcome {
	case orders.AlreadyDone, orders.Differs, orders.OverLimit:
		describeEarlierOrder(sale, seller, content)
	case orders.SoldOut:
		describeSoldOut(sale, answer, content)
	case orders.NotOpen:
		opens := cmp.Or(answer.Opens, sale.Opens)
		content.showAlert("Nothing was submitted: it is not open yet", "It opens at "+formatTime(opens)+". What you typed is still below: press the button then. Pressing it earlier has no effect.")
	case orders.Closed:
		content.kind = sale.FormKind
		next := "The form below is the one that is open now, with what you typed."
		if sale.FormKind == "" {
			next = "Nothing can be submitted now. If that changes, it will be at this address."
		}
		content.showAlert("Nothing was submitted: it is closed", next)
	case orders.PriceChanged:
		content.showAlert("Not sent yet: the total has changed", fmt.Sprintf("The total is now %s. If that is right, press the button again.", sale.moneyOf(answer.Total)))
	case orders.WrongKind:
		content.kind = sale.FormKind
		content.showAlert("Nothing was submitted: this page has another form now", "The form below is the new one, with what you typed. Send it if that is what you want.")
	case orders.NoShipping:
		content.form.addProblem("country", countryProblem)
		content.alert = alertForProblems(content.form)
		return http.StatusUnprocessableEntity
	case orders.NoSuchSale:
		content.kind, content.again = sale.FormKind, sale.FormKind == "" && sale.Hold != holdRefused
		content.showAlert("Nothing was submitted: this is not on sale yet", "The shop's order book does not have this product. What you typed is below, in case you want to keep it; the order page shows when that changes.")
		return http.StatusServiceUnavailable
	case orders.Full:
		content.showAlert(limitTitle, limitText)
		return http.StatusTooManyRequests
	case orders.IDInUse:
		content.form.values["token"] = newToken()
		content.showAlert("Nothing was submitted: this page has placed orders already", "They stay as they are. If their links have ended, the newest mail about each has the new one; or write to "+seller+".",
			"For one order more, please press the button again.")
	default:
		content.showAlert("Nothing was submitted: the shop cannot read this form", "Something in the form is not right, but this page cannot tell what. Please check it and send it again.")
		return http.StatusUnprocessableEntity
	}
	return http.StatusConflict
}

// describeEarlierOrder answers a form whose person or address has something in this sale already. It is the
// same page for the same as before, for something else and for a limit that is reached, because a person who
// sends the form may be a stranger who tries out what others have ordered.
func describeEarlierOrder(sale *productSale, seller string, content *formContent) {
	link := "The address of its receipt was shown when it was placed. If you have lost it, write to " + seller + "."
	if sale.book.Mail {
		link = "If it has exactly the e-mail address that you typed, the link to it is on its way there. Otherwise no mail comes: write to " + seller + "."
	}
	next := "To change what you have, cancel it on its receipt and send this form again."
	content.inAddition = inAdditionNotOffered
	if sale.PerPerson > 1 && content.kind != "" {
		next = fmt.Sprintf("Do you want this in addition to what you have? If this page comes back, that would be more than the limit: %d per person%s.", sale.PerPerson, orAddress(sale))
		content.inAddition = inAdditionOffered
	}
	content.showAlert("Nothing new was taken: something was placed here before", "It has this e-mail address"+orAddress(sale)+". It stays as it is, and this page does not say what it is: anybody could have typed your address.", link, next)
}

// describeSoldOut explains that no unit or too few units remain, and offers the alternatives.
func describeSoldOut(sale *productSale, answer orders.Answer, content *formContent) {
	if answer.Remaining > 0 {
		content.showAlert("There are fewer left than you asked for", fmt.Sprintf("Only %d left. Nothing was submitted: choose fewer and press the button again.", answer.Remaining))
		return
	}
	if sale.FormKind == formOrder { // this board does not know yet that it is sold out
		sale.setState(orders.SaleSoldOut)
	}
	content.kind = sale.FormKind
	next := "You owe nothing. If more arrive, they will be at this address."
	if sale.FormKind == formWaiting {
		next = "You can join the waiting list: the form below has what you typed. It costs nothing, and we ask you again before you owe anything."
	}
	content.showAlert("The last one has just gone: nothing was submitted", next)
}

// orAddress returns the words for a limit that applies to postal addresses too.
func orAddress(sale *productSale) string {
	if sale.book.LimitByAddress {
		return " or postal address"
	}
	return ""
}
