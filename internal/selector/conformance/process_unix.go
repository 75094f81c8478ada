//go:build unix

package conformance

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// startSignals sends this process 10,000 signals a second until stop is called.
func startSignals() (stop func(), ok bool) {
	got := make(chan os.Signal, 64)
	signal.Notify(got, syscall.SIGUSR1)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		self := os.Getpid()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-got:
			case <-tick.C:
				for range 10 {
					syscall.Kill(self, syscall.SIGUSR1)
				}
			}
		}
	}()
	return func() {
		close(done)
		<-ended
		signal.Stop(got)
	}, true
}
