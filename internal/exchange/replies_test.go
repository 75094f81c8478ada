package exchange

import (
	"errors"
	"testing"
)

// The replies that wait for delivery take memory for themselves, not for those delivered before, also if there is
// always one that waits.
func TestRepliesMemory(t *testing.T) {
	onTestNet(t, func(n *testNet) {
		n.x.limits.Queries = 0 // each query ends at once
		const waiting, total = 3 * maxDelivered, 100 * maxDelivered
		asked, most, done := 0, 0, make(chan bool)
		var ask func()
		ask = func() {
			asked++
			n.x.Ask(questionFor("www.example.com"), &n.policy, func(r Reply) {
				if most = max(most, cap(n.x.replies)); !errors.Is(r.Err, ErrBusy) {
					t.Error(r.Err)
				}
				switch {
				case asked < total:
					ask()
				case len(n.x.replies)-n.x.delivered == 0:
					close(done)
				}
			})
		}
		n.Run(func() {
			for range waiting {
				ask()
			}
		})
		<-done
		if most > 4*waiting {
			t.Errorf("%d replies that wait take the memory of %d", waiting, most)
		}
	})
}
