package afd

import (
	"time"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// OpenOn returns an empty selector whose polls complete on the caller's port, under
// key. The caller takes all completions from the port and passes those with the key to
// AddCompletion; it calls BeforeSleep before it waits on the port, and Wait with a timeout of
// zero whenever HasCompletions returns true. No other goroutine may call Wait.
//
// Close and Add may need a completion sooner, and call take: it must take the available
// completions, waiting for timeout at most, and pass those with the key to AddCompletion.
func OpenOn(port sys.FD, key uintptr, take func(timeout time.Duration) error) (*Selector, error) {
	s, err := openOn(port, key, selector.Config{})
	if err != nil {
		return nil, err
	}
	s.take = take
	return s, nil
}

// AddCompletion records the completion of a poll.
func (s *Selector) AddCompletion(overlapped uintptr) { s.land(s.socketByID(uint32(overlapped - 1))) }

// HasCompletions reports whether the next Wait may return events.
func (s *Selector) HasCompletions() bool { return s.landed.count.Load() > 0 }

// BeforeSleep starts the polls that must be in flight while the caller sleeps. It returns
// how long the caller may sleep; negative means forever.
func (s *Selector) BeforeSleep() time.Duration {
	s.restartAll(&s.restarts)
	s.restartAll(&s.guards)
	if s.mustRetry() {
		return retryAfter
	}
	return -1
}
