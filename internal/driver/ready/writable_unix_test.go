//go:build unix

package ready

import (
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/selector/poll"
	"github.com/pollux-io/pollux/internal/sys"
)

// stating is a selector that states whether Writable is free, and records the last interest.
type stating struct {
	selector.Selector
	free     bool
	interest selector.Interest
}

func (s *stating) WritableIsFree() bool { return s.free }

func (s *stating) Add(fd sys.FD, key selector.Key, i selector.Interest, t selector.Trigger) error {
	s.interest = i
	return s.Selector.Add(fd, key, i, t)
}

// A TCP stream is registered for Writable from the beginning where the selector states that it
// costs nothing, whatever the backend's name is.
func TestWritableFromTheBeginning(t *testing.T) {
	for _, free := range []bool{true, false} {
		inner, err := poll.Open(selector.Config{})
		if err != nil {
			t.Fatal(err)
		}
		sel := &stating{Selector: inner, free: free}
		d, err := OpenOn(queue.New("epoll", sel), driver.Config{ScratchBytes: 4 << 10, BudgetBytes: 4 << 10})
		if err != nil {
			t.Fatal(err)
		}
		s, peer := connected(t, &events{})
		if err := d.Attach(s); err != nil {
			t.Fatal(err)
		}
		if got := sel.interest&selector.Writable != 0; got != free {
			t.Errorf("free: %v, registered for Writable: %v", free, got)
		}
		d.Release(s)
		d.Turn(0)
		peer.Close()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
