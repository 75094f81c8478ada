package tlsconn

import (
	"testing"

	"github.com/pollux-io/pollux/internal/block"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/tlsengine"
)

// A lateDriver takes what is sent in a later turn.
type lateDriver struct {
	driver.StreamDriver
	sent     int // bytes of the Send in flight
	released bool
}

func (d *lateDriver) Send(_ *driver.Stream, bufs [][]byte) (int, error) {
	d.sent = len(bufs[0])
	return 0, nil
}
func (d *lateDriver) SendBlocked(*driver.Stream) bool { return false }
func (d *lateDriver) Pause(*driver.Stream)            {}
func (d *lateDriver) Release(*driver.Stream)          { d.released = true }

// After Release, the stream stays open until the driver has taken the last alert, for maxAlertTurns turns at most,
// however many bytes the peer has sent after its end.
func TestReleaseWaitsForTheAlert(t *testing.T) {
	for name, taken := range map[string]int{"taken in the last turn": maxAlertTurns - 1, "never taken": maxAlertTurns} {
		t.Run(name, func(t *testing.T) {
			d := &lateDriver{}
			var queue []func()
			l := &layer{
				shared: &shared{blocks: block.NewPool(maxIdleBlockBytes)},
				ends:   &ends{receive: tlsengine.ErrTruncated, discarded: maxDiscardedBytes},
				above: driver.Above{Stream: &driver.Stream{}, Driver: d, Run: func(f func()) bool {
					queue = append(queue, f)
					return true
				}},
			}
			l.connected.Store(true)
			l.sendRecords([]byte("an alert"))
			l.Release(l.above.Stream)
			for turn := range taken {
				if d.released || len(queue) != 1 {
					t.Fatalf("before turn %d: released: %v; %d functions are in the queue", turn, d.released, len(queue))
				}
				f := queue[0]
				queue = nil
				f()
			}
			if taken < maxAlertTurns {
				if d.released {
					t.Fatal("the driver was released before it took the alert")
				}
				l.Sent(d.sent, nil)
			}
			if !d.released {
				t.Fatal("the driver was not released")
			}
		})
	}
}
