package ledger_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"bramble/cluster/ledger"
)

// BenchmarkSubmit runs many clients on all of three boards whose syncs each take
// 20 ms longer:
//
//	go test -run '^$' -bench Submit -benchtime 20000x ./cluster/ledger
func BenchmarkSubmit(b *testing.B) {
	for _, clients := range []int{1, 64, 256, 1024} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			r := newRack(b, 3)
			r.slow = 20 * time.Millisecond
			r.timing = ledger.DefaultTiming()
			r.timing.FoundingWait, r.timing.Survey = 500*time.Millisecond, 200*time.Millisecond
			r.start(r.names...)
			r.voters(3)
			r.submit(r.board("b1"), "warm")
			command := make([]byte, 300)
			var mu sync.Mutex
			var all sync.WaitGroup
			took := make([]time.Duration, 0, b.N)
			next := make(chan int, b.N)
			for i := range b.N {
				next <- i
			}
			close(next)
			b.ResetTimer()
			for c := range clients {
				board := r.board(r.names[c%len(r.names)])
				all.Go(func() {
					for range next {
						began := time.Now()
						ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
						_, _, err := board.Submit(ctx, command)
						cancel()
						if err != nil {
							b.Error(err)
							return
						}
						mu.Lock()
						took = append(took, time.Since(began))
						mu.Unlock()
					}
				})
			}
			all.Wait()
			b.StopTimer()
			slices.Sort(took)
			if len(took) > 0 {
				b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "acks/s")
				b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
				b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "p99-ms")
			}
			r.stopAll()
		})
	}
}

// BenchmarkLeaderKilled measures from the moment when the leader is gone
// to the next command that another board takes:
//
//	go test -run '^$' -bench LeaderKilled -benchtime 10x ./cluster/ledger
func BenchmarkLeaderKilled(b *testing.B) {
	r := newRack(b, 3)
	r.timing = ledger.DefaultTiming()
	r.timing.FoundingWait, r.timing.Survey = 500*time.Millisecond, 200*time.Millisecond
	r.start(r.names...)
	r.voters(3)
	r.submit(r.board("b1"), "warm")
	var longest, all time.Duration
	for i := range b.N {
		led := r.leader()
		ld := r.load(8, 10*time.Second, r.names...)
		r.awaitAcknowledged(ld, 20)
		b.StartTimer()
		r.kill(led.name)
		began := time.Now()
		r.submit(r.running()[0], fmt.Sprint("after ", i))
		b.StopTimer()
		took := time.Since(began)
		all += took
		longest = max(longest, took)
		ld.stopWriters()
		r.start(led.name)
		r.submit(r.board(led.name), "it is back")
	}
	b.ReportMetric(float64((all / time.Duration(b.N)).Milliseconds()), "mean-ms")
	b.ReportMetric(float64(longest.Milliseconds()), "longest-ms")
}
