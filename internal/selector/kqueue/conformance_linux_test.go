package kqueue_test

import (
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/selector/conformance"
	"github.com/pollux-io/pollux/internal/selector/kqueue"
	"github.com/pollux-io/pollux/internal/selector/kqueue/kqtest"
	"github.com/pollux-io/pollux/internal/testkit"
)

// TestConformance runs the suite, Q1 to Q11, over the selector on the model of
// each system's kqueue. With -short it runs on the two that differ most; the long
// runs are on the most difficult, NetBSD's, only.
func TestConformance(t *testing.T) {
	for _, f := range kqtest.Flavours() {
		t.Run(f.Name, func(t *testing.T) {
			if testing.Short() && f.Name != kqtest.FreeBSD.Name && f.Name != kqtest.NetBSD.Name {
				t.Skip("skipped with -short")
			}
			if f.Name != kqtest.NetBSD.Name {
				t.Setenv(testkit.LongEnv, "")
			}
			kernel := kqtest.New(f)
			config := selector.Config{}
			if f.Name == kqtest.DragonFly.Name {
				config.BusyPoll = 20 * time.Microsecond // the others sleep immediately
			}
			system := conformance.Sockets()
			system.NewQueue = func(config selector.Config) (*queue.Poll, error) {
				s, err := kqueue.OpenOn(kernel, config)
				if err != nil {
					return nil, err
				}
				return queue.New("kqueue on "+f.Name, s), nil
			}
			system.ExtraEdges = f.ExtraPipeEdges || f.AckEdges > 0
			system.NoUrgent = !f.Traits.Except
			system.NewPoll = func(...pollux.Option) (*pollux.Poll, error) {
				q, err := system.NewQueue(config)
				if err != nil {
					return nil, err
				}
				return pollux.New(queue.Over(q))
			}
			conformance.Run(t, system)
			if n := kernel.Open(); n != 0 {
				t.Errorf("%d kqueues are still open, want 0", n)
			}
		})
	}
}
