package fulfilment

import (
	"testing"
	"time"

	"bramble/node/orders"
)

// A failing job does not leave the list for the time of its next attempt.
func TestAJobThatIsAttemptedAgainIsListed(t *testing.T) {
	s := newJobSchedule(1, func(int64) int64 { return 0 })
	order := testOrder(0)
	s.addJob(orders.Job{Kind: orders.JobWebhook, Since: launch, Order: order})
	s.recordResult(s.nextTask(launch), attemptResult{failure: FailureRefused, refused: true}, launch)
	if s.nextTask(launch.Add(24*time.Hour)) == nil {
		t.Fatal("there is no second attempt")
	}
	if list := s.listFailing(); len(list) != 1 || list[0].Reference != order.ID.String() {
		t.Errorf("while it is attempted again the list is %+v", list)
	}
}
