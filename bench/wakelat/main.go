// Wakelat measures the time from Waker.Wake in one goroutine to the return of Wait in
// another that sleeps, and prints the median and the 99th percentile for each way of
// sleeping, interleaved, and for a channel.
package main

import (
	"flag"
	"fmt"
	"log"
	"slices"
	"time"

	"github.com/pollux-io/pollux"
)

func main() {
	n := flag.Int("n", 20_000, "wakes in each round")
	rounds := flag.Int("rounds", 7, "rounds")
	gap := flag.Duration("gap", 0, "time between wakes, so that the waiter is asleep")
	flag.Parse()
	ways := []struct {
		name    string
		measure func(n int, gap time.Duration) []time.Duration
		p50     []time.Duration
		p99     []time.Duration
	}{
		{name: "channel", measure: channel},
		{name: "park", measure: func(n int, gap time.Duration) []time.Duration { return wake(n, gap) }},
		{name: "block", measure: func(n int, gap time.Duration) []time.Duration { return wake(n, gap, pollux.BlockThread()) }},
	}
	for range *rounds {
		for i := range ways {
			took := ways[i].measure(*n, *gap)
			slices.Sort(took)
			ways[i].p50 = append(ways[i].p50, took[len(took)/2])
			ways[i].p99 = append(ways[i].p99, took[len(took)*99/100])
		}
	}
	for _, w := range ways {
		slices.Sort(w.p50)
		slices.Sort(w.p99)
		mid, last := len(w.p50)/2, len(w.p50)-1
		fmt.Printf("%-8s p50 %v [%v-%v]  p99 %v [%v-%v]\n", w.name, w.p50[mid], w.p50[0], w.p50[last], w.p99[mid], w.p99[0], w.p99[last])
	}
}

func wake(n int, gap time.Duration, options ...pollux.Option) []time.Duration {
	q, err := pollux.New(options...)
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	w, err := q.NewWaker(1)
	if err != nil {
		log.Fatal(err)
	}
	events := make([]pollux.Event, 1)
	return collect(n, gap, func() {
		if _, err := q.Wait(events, pollux.Forever); err != nil {
			log.Fatal(err)
		}
	}, func() { w.Wake() })
}

func channel(n int, gap time.Duration) []time.Duration {
	c := make(chan struct{}, 1)
	return collect(n, gap, func() { <-c }, func() { c <- struct{}{} })
}

// collect calls wait on one goroutine and wake on another, alternately, and returns the
// latencies.
func collect(n int, gap time.Duration, wait, wake func()) []time.Duration {
	took := make([]time.Duration, 0, n)
	began := make(chan time.Time, 1)
	ready := make(chan struct{})
	go func() {
		for range n {
			<-ready
			if gap > 0 {
				time.Sleep(gap)
			}
			began <- time.Now()
			wake()
		}
	}()
	for range n {
		ready <- struct{}{}
		wait()
		took = append(took, time.Since(<-began))
	}
	return took
}
