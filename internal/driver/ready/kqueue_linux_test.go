package ready

import (
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/conformance"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/selector/kqueue"
	"github.com/pollux-io/pollux/internal/selector/kqueue/kqtest"
)

// TestConformanceOnKqueue runs the suite over a Poll on a model of each system's kqueue.
func TestConformanceOnKqueue(t *testing.T) {
	for _, f := range kqtest.Flavours() {
		t.Run(f.Name, func(t *testing.T) {
			kernel := kqtest.New(f)
			conformance.Run(t, func(t *testing.T, c driver.Config) driver.Driver {
				s, err := kqueue.OpenOn(kernel, selector.Config{BusyPoll: c.BusyPoll})
				if err != nil {
					t.Fatal(err)
				}
				d, err := OpenOn(queue.New("kqueue", s), c)
				if err != nil {
					t.Fatal(err)
				}
				return d
			})
			if n := kernel.Open(); n != 0 {
				t.Errorf("%d kqueues were not closed", n)
			}
		})
	}
}
