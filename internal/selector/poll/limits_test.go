//go:build unix

package poll_test

import (
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/selector/conformance"
	"github.com/pollux-io/pollux/internal/selector/poll"
	"github.com/pollux-io/pollux/internal/sys"
)

// netbsdPoll is a selector that reports the end of a stream as readiness alone, as on NetBSD's
// poll(2).
type netbsdPoll struct {
	selector.Selector
	sockets sync.Map // by key
}

func (s *netbsdPoll) Add(fd sys.FD, key selector.Key, i selector.Interest, t selector.Trigger) error {
	if sys.FileKind(fd) == "socket" {
		s.sockets.Store(key, true)
	}
	return s.Selector.Add(fd, key, i, t)
}

func (s *netbsdPoll) Modify(fd sys.FD, old, key selector.Key, i selector.Interest, t selector.Trigger) error {
	if _, ok := s.sockets.Load(old); ok {
		s.sockets.Store(key, true)
	}
	return s.Selector.Modify(fd, old, key, i, t)
}

func (s *netbsdPoll) Wait(events []selector.Event, timeout time.Duration) (int, error) {
	n, err := s.Selector.Wait(events, timeout)
	for i := range events[:n] {
		if _, ok := s.sockets.Load(events[i].Key); ok {
			events[i].Flags &= selector.Flags(selector.AnyInterest)
		}
	}
	return n, err
}

// TestEndsAsReadable: where poll(2) reports a FIN or a reset as Readable only, the next read
// returns the end or the error, and the suite accepts that.
func TestEndsAsReadable(t *testing.T) {
	system := conformance.Sockets()
	system.EndsAsReadable = true
	system.NewPoll = func(...pollux.Option) (*pollux.Poll, error) {
		s, err := poll.Open(selector.Config{})
		if err != nil {
			return nil, err
		}
		return pollux.New(queue.Over(queue.New("poll as on NetBSD", &netbsdPoll{Selector: s})))
	}
	conformance.Run(t, system, "Q1", "Q8")
}
