package sim

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/internal/spin"
	"github.com/pollux-io/pollux/internal/sys"
)

// sockets is a selector of the sockets of one host, for the Poll that keeps the registrations of a
// driver. It is edge-triggered only, and Wait never sleeps: the driver does, by its actor.
//
// A socket reports that its state may have changed, and Wait compares the state with what was
// reported before. A direction is reported again once Rearm was called for it.
type sockets struct {
	host *simnet.Host
	// wake wakes the driver's turn; it must not be called with mu held. wakeLocked is for a caller that
	// holds the network's lock.
	wake, wakeLocked func()

	mu sync.Mutex // may be taken with the network's lock held, but not the other way round
	// watched has the registrations by the slot of their key.
	watched []*registration
	changed driver.TurnQueue[registration] // that Wait must look at
}

var (
	_ selector.Selector = (*sockets)(nil)
	_ selector.Virtual  = (*sockets)(nil)
)

// A registration is a socket that is watched.
type registration struct {
	set    *sockets
	socket *simnet.Socket

	// With set.mu held:
	key      selector.Key
	interest selector.Interest
	reported selector.Flags // and not re-armed
	state    driver.State   // for set.changed
	ended    bool
}

// VirtualOnly implements selector.Virtual.
func (*sockets) VirtualOnly() {}

// Changed implements simnet.Watcher.
func (r *registration) Changed(*simnet.Socket) {
	if r.set.queue(r) {
		r.set.wakeLocked()
	}
}

// queue has Wait look at r, and reports whether a sleeping turn must be woken for it.
func (s *sockets) queue(r *registration) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.ended {
		return false
	}
	first = s.changed.Len() == 0
	s.changed.Put(r, &r.state)
	return first
}

// pending reports whether Wait has something to look at.
func (s *sockets) pending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed.Len() > 0
}

var errEdgeOnly = errors.New("sim: registrations are edge-triggered and not oneshot only")

// Add implements selector.Selector.
func (s *sockets) Add(fd sys.FD, key selector.Key, interest selector.Interest, trigger selector.Trigger) error {
	if trigger != selector.Edge {
		return errEdgeOnly
	}
	socket, ok := simnet.SocketOf(sys.Virtual(fd))
	if !ok || socket.Host() != s.host {
		return fmt.Errorf("%w: the socket is not one of the simulated host that the loop is on", selector.ErrNotPollable)
	}
	r := &registration{set: s, socket: socket}
	s.mu.Lock()
	s.setLocked(r, key, interest)
	s.mu.Unlock()
	socket.SetWatcher(r)
	s.check(r) // the socket may be ready already
	return nil
}

// Modify implements selector.Selector.
func (s *sockets) Modify(_ sys.FD, old, key selector.Key, interest selector.Interest, trigger selector.Trigger) error {
	if trigger != selector.Edge {
		return errEdgeOnly
	}
	s.mu.Lock()
	r := s.findLocked(old)
	if r != nil {
		s.watched[old.Slot()] = nil
		s.setLocked(r, key, interest)
	}
	s.mu.Unlock()
	if r == nil {
		return errNotWatched
	}
	s.check(r)
	return nil
}

// setLocked has the registration be one with the key and the interest, to which nothing was reported.
func (s *sockets) setLocked(r *registration, key selector.Key, interest selector.Interest) {
	for len(s.watched) <= int(key.Slot()) {
		s.watched = append(s.watched, nil)
	}
	s.watched[key.Slot()] = r
	r.key, r.interest, r.reported = key, interest, 0
}

// check has Wait look at r if there is something to report.
func (s *sockets) check(r *registration) {
	if r.news() != 0 && s.queue(r) {
		s.wake()
	}
}

var errNotWatched = errors.New("sim: the socket is not registered")

// Delete implements selector.Selector.
func (s *sockets) Delete(_ sys.FD, key selector.Key) error {
	s.mu.Lock()
	r := s.findLocked(key)
	if r != nil {
		r.ended = true
		s.watched[key.Slot()] = nil
	}
	s.mu.Unlock()
	if r == nil {
		return errNotWatched
	}
	r.socket.SetWatcher(nil)
	return nil
}

// findLocked returns the registration that has the key, or nil.
func (s *sockets) findLocked(key selector.Key) *registration {
	if int(key.Slot()) < len(s.watched) {
		if r := s.watched[key.Slot()]; r != nil && r.key == key {
			return r
		}
	}
	return nil
}

// NeedsRearm implements selector.Selector.
func (s *sockets) NeedsRearm() bool { return true }

// Rearm implements selector.Selector. The direction may have become ready since the call that
// would have blocked, so Wait looks at it.
func (s *sockets) Rearm(_ sys.FD, key selector.Key, d selector.Interest) {
	s.mu.Lock()
	r := s.findLocked(key)
	if r != nil {
		r.reported &^= selector.Flags(d)
	}
	s.mu.Unlock()
	if r != nil {
		s.check(r)
	}
}

// news returns what the socket is ready for and was not reported.
func (r *registration) news() selector.Flags {
	now := flagsOf(r.socket.State())
	r.set.mu.Lock()
	defer r.set.mu.Unlock()
	return now.For(r.interest) &^ r.reported
}

// WritableIsFree implements selector.Selector: Writable is reported again only after Rearm.
func (s *sockets) WritableIsFree() bool { return true }

// Wait implements selector.Selector, with a timeout of zero.
func (s *sockets) Wait(events []selector.Event, _ time.Duration) (n int, _ error) {
	for n < len(events) {
		r, key := s.next()
		if r == nil {
			break
		}
		if f := r.news(); f != 0 && s.report(r, f) {
			events[n] = selector.Event{Key: key, Flags: f}
			n++
		}
	}
	return n, nil
}

// next takes a registration whose socket may have changed, or returns nil.
func (s *sockets) next() (*registration, selector.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed.Len() == 0 {
		return nil, 0
	}
	r := s.changed.Take() // before its state is read: what happens from here on queues it again
	return r, r.key
}

// report records that f is reported, unless the registration has ended.
func (s *sockets) report(r *registration, f selector.Flags) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.reported |= f
	return !r.ended
}

// flagsOf returns the flags of a state. As in the contract of selector.Selector, the directions whose
// next call returns an error are ready, too.
func flagsOf(x simnet.State) (f selector.Flags) {
	if x&simnet.Readable != 0 {
		f |= selector.ReadableFlag
	}
	if x&simnet.Writable != 0 {
		f |= selector.WritableFlag
	}
	if x&simnet.Urgent != 0 {
		f |= selector.PriorityFlag
	}
	if x&simnet.ReadClosed != 0 {
		f |= selector.ReadClosed | selector.ReadableFlag
	}
	if x&simnet.Failed != 0 {
		f |= selector.Failed | selector.WriteClosed | selector.ReadableFlag | selector.WritableFlag
	}
	return f
}

// Notify implements selector.Selector.
func (s *sockets) Notify() error {
	s.wake()
	return nil
}

// NotifyAll implements selector.Selector.
func (s *sockets) NotifyAll() error { return s.Notify() }

// Spin implements selector.Selector.
func (s *sockets) Spin() spin.Stats { return spin.Stats{} }

// Close implements selector.Selector.
func (s *sockets) Close() error { return nil }
