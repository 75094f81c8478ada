// Package wire is the event loop of "pollux fetch", one goroutine with one Poll: calls,
// which send a request and receive an answer, timers, and functions that other goroutines
// post to it.
package wire

import (
	"time"

	"github.com/pollux-io/pollux"
)

const (
	// wakeToken is the waker's; tokens of calls count up from it, so that no token is used
	// twice and a stale event of a closed call finds no call.
	wakeToken pollux.Token = 0

	eventsPerTurn = 256
	scratchBytes  = 64 << 10
)

// A Loop waits on one Poll. Its methods except Post must be called before Run, or by the
// goroutine that is in Run, so in callbacks.
type Loop struct {
	q       *pollux.Poll
	waker   *pollux.Waker
	calls   map[pollux.Token]*Call
	last    pollux.Token
	timers  timers
	posted  mailbox
	now     time.Time
	stopped bool
	scratch []byte // buffer of reads; a handler copies the bytes that it keeps
}

// New returns a Loop without calls. The caller must close it.
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

// Now returns the time at which the current turn began.
func (l *Loop) Now() time.Time { return l.now }

// Open returns the number of open calls.
func (l *Loop) Open() int { return len(l.calls) }

// Run handles events, timers and posted functions until Stop.
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

// Stop makes Run return at the end of the turn.
func (l *Loop) Stop() { l.stopped = true }

// Post makes the loop call f soon. It may be called from any goroutine and never
// blocks. After Close it does nothing.
//
// The queue has no bound of its own: each caller must have a bounded number of posts
// pending.
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
