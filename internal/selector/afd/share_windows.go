package afd

import (
	"time"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// OpenOn returns an empty selector whose polls complete on somebody else's port, under
// key. The owner takes all completions from the port and hands those with the key to
// Land; it calls BeforeSleep before it waits there, and Wait with a timeout of zero
// whenever Landed says that there is something. Nobody else calls Wait.
//
// The selector may need a completion sooner: take must take what there is, waiting for
// timeout at the most, and Land what is the selector's. It is called by Close, and by
// Add.
func OpenOn(port sys.FD, key uintptr, take func(timeout time.Duration) error) (*Selector, error) {
	s, err := openOn(port, key, selector.Config{})
	if err != nil {
		return nil, err
	}
	s.take = take
	return s, nil
}

// Land takes note of the completion of a poll.
func (s *Selector) Land(overlapped uintptr) { s.land(s.numbered(uint32(overlapped - 1))) }

// Landed says whether the next Wait may have something to tell.
func (s *Selector) Landed() bool { return s.landed.count.Load() > 0 }

// BeforeSleep starts the polls that are due when somebody goes to sleep. It returns for
// how long that may be; negative: forever.
func (s *Selector) BeforeSleep() time.Duration {
	s.flush(&s.again)
	s.flush(&s.guards)
	if s.mustRetry() {
		return retryAfter
	}
	return -1
}
