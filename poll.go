package pollux

import (
	"fmt"
	"sync"
	"time"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector"
)

// Forever, as the timeout of Wait, means no timeout.
const Forever time.Duration = -1

// A Poll is an event queue: it reports which of the sources registered with it are ready. New
// creates one. All methods may be called from any goroutine at any time.
type Poll struct {
	q       *queue.Poll
	scratch sync.Pool // of *[queue.MaxWait]queue.Event
}

// A Source can be registered with a Poll. The sockets, pipes and descriptors of package sock are
// sources, and so are types that embed one; there are no others.
type Source interface{ source }

type source = handle.Source

// New returns an empty Poll, on the best backend that is usable on this machine, unless the
// option Backend or the environment variable POLLUX_BACKEND selects one. Close releases its
// descriptors. The error is an *OpError with ErrBackend, ErrBadArgument, or the kernel's error,
// such as EMFILE, ENFILE or ENOMEM.
func New(options ...Option) (*Poll, error) {
	var s settings
	for _, o := range options {
		err := fmt.Errorf("%w: the option is nil", ErrBadArgument)
		if o != nil {
			err = o(&s)
		}
		if err != nil {
			return nil, &OpError{Op: "new", Err: err}
		}
	}
	q, err := queue.OpenWith(&s)
	if err != nil {
		return nil, &OpError{Op: "new", Err: err}
	}
	p := &Poll{q: q}
	p.scratch.New = func() any { return new([queue.MaxWait]queue.Event) }
	return p, nil
}

// Backend returns the name of the backend in use.
func (q *Poll) Backend() string { return q.q.Backend() }

// SpinStats has the statistics of a Poll, or of a loop of package loop, that polls the kernel
// repeatedly before it sleeps.
type SpinStats struct {
	// Window is the longest time that the next spin may last; zero means that there is no next
	// spin.
	Window time.Duration
	// Spins counts the spins, and Hits those that found an event.
	Spins, Hits uint64
	// Time is the total time spent spinning.
	Time time.Duration
}

// Spin returns the statistics of spinning in Wait; see BusyPoll.
func (q *Poll) Spin() SpinStats { return SpinStats(q.q.Spin()) }

// Len returns the number of live registrations. Wakers do not count.
func (q *Poll) Len() int { return q.q.Len() }

// Register adds src to the Poll: Wait then returns events for src that carry token. Readiness
// that exists already is reported, and a Wait that is asleep sees the new source immediately.
//
// The error is an *OpError with ErrClosed, ErrRegistered, ErrOtherPoll, ErrNotPollable,
// ErrSourceClosed, ErrNoInterest, ErrBadTrigger, ErrTooMany, or the kernel's error. On Linux ENOSPC
// means that the limit in /proc/sys/fs/epoll/max_user_watches is reached (epoll(7)).
func (q *Poll) Register(src Source, token Token, interest Interest, trigger Trigger) error {
	return q.Registrator().Register(src, token, interest, trigger)
}

// Reregister replaces the token, interest and trigger of a registration, and re-arms a
// Oneshot registration. Readiness that exists is reported again; events of the old
// registration that no Wait has returned yet are dropped.
//
// The error is an *OpError with ErrClosed, ErrNotRegistered, ErrOtherPoll, ErrSourceClosed,
// ErrNoInterest, ErrBadTrigger, ErrTooMany, or the kernel's error, after which src is no longer
// registered. After the other errors the registration is unchanged.
func (q *Poll) Reregister(src Source, token Token, interest Interest, trigger Trigger) error {
	return q.Registrator().Reregister(src, token, interest, trigger)
}

// Deregister ends a registration. After it has returned, no Wait returns an event of the
// registration; another goroutine may still be handling one that was returned before. Closing
// or detaching a source does the same.
//
// The error is an *OpError with ErrNotRegistered, ErrOtherPoll, ErrSourceClosed, or ErrClosed:
// then Wait still returns the registration's Closed event.
func (q *Poll) Deregister(src Source) error { return q.Registrator().Deregister(src) }

// Registrator returns a Registrator of this Poll.
func (q *Poll) Registrator() Registrator { return Registrator{q.q} }

// A Registrator has the methods of a Poll that register sources. Pass it to code that may
// neither wait for events nor close the Poll. It is a small value; copies are equivalent. Its
// methods may be called from any goroutine at any time. The methods of the zero Registrator
// return ErrClosed.
type Registrator struct{ q *queue.Poll }

// Register does what Poll.Register does.
func (r Registrator) Register(src Source, token Token, interest Interest, trigger Trigger) error {
	return r.q.Register(handle.OfAny(src), uint64(token), selector.Interest(interest), selector.Trigger(trigger))
}

// Reregister does what Poll.Reregister does.
func (r Registrator) Reregister(src Source, token Token, interest Interest, trigger Trigger) error {
	return r.q.Reregister(handle.OfAny(src), uint64(token), selector.Interest(interest), selector.Trigger(trigger))
}

// Deregister does what Poll.Deregister does.
func (r Registrator) Deregister(src Source) error { return r.q.Deregister(handle.OfAny(src)) }
