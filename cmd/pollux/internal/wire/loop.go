// Package wire is the one goroutine with the one Poll that "pollux fetch" is made of:
// sockets that ask and listen for an answer, timers, and a way for other goroutines to
// have something done on it.
package wire

import (
	"time"

	"github.com/pollux-io/pollux"
)

const (
	// wakeToken is the waker's; calls count up from it, so that no token is used
	// twice and an event left over from a closed call finds nobody.
	wakeToken pollux.Token = 0

	eventsPerTurn = 256
	scratchBytes  = 64 << 10
)

// A Loop waits on one Poll. All its methods but Post are for the goroutine that
// is in Run, or for callbacks, or for before Run.
type Loop struct {
	q       *pollux.Poll
	waker   *pollux.Waker
	calls   map[pollux.Token]*Call
	last    pollux.Token
	timers  timers
	posted  mailbox
	now     time.Time
	stopped bool
	scratch []byte // what is read goes through here; a handler copies what it keeps
}

// New returns a Loop without calls. Close it.
func New() (*Loop, error) {
	q, err := pollux.New()
	if err != nil {
		return nil, err
	}
	w, err := q.NewWaker(wakeToken)
	if err != nil {
		q.Close()
		return nil, err
	}
	return &Loop{
		q: q, waker: w,
		calls:   make(map[pollux.Token]*Call),
		now:     time.Now(),
		scratch: make([]byte, scratchBytes),
	}, nil
}

// Backend names the kernel mechanism in use.
func (l *Loop) Backend() string { return l.q.Backend() }

// Now is when the present turn began.
func (l *Loop) Now() time.Time { return l.now }

// Open is how many calls are open.
func (l *Loop) Open() int { return len(l.calls) }

// Run calls back what is ready until Stop.
func (l *Loop) Run() error {
	events := make([]pollux.Event, eventsPerTurn)
	l.now = time.Now()
	for !l.stopped {
		n, err := l.q.Wait(events, l.timers.wait(time.Now()))
		if err != nil {
			return err
		}
		l.now = time.Now()
		for _, ev := range events[:n] {
			if ev.Token() == wakeToken {
				l.posted.run()
				continue
			}
			if c := l.calls[ev.Token()]; c != nil {
				c.ready()
			}
		}
		l.timers.run(l.now)
	}
	return nil
}

// Stop makes Run return at the end of its turn.
func (l *Loop) Stop() { l.stopped = true }

// Post has f run on the loop, soon. It may be called from any goroutine and never
// blocks. After Close it does nothing.
//
// The queue has no bound of its own: callers see to it that each of them has a
// bounded number of posts under way.
func (l *Loop) Post(f func()) {
	if l.posted.put(f) {
		l.waker.Wake() // fails only once the Poll is closed
	}
}

// Close closes all calls and the Poll.
func (l *Loop) Close() error {
	l.posted.close()
	for _, c := range l.calls {
		c.Close()
	}
	l.waker.Close()
	return l.q.Close()
}
