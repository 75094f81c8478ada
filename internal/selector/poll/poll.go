//go:build unix

// Package poll reports readiness by poll(2), for systems that have nothing better,
// and as a reference for the other backends.
//
// poll(2) keeps no state between calls: each call is given all descriptors, and
// its cost grows with their number. So the selector keeps the set, and implements
// what poll(2) lacks:
//
//   - poll(2) is level-triggered. A oneshot registration leaves the set once it has
//     been reported, until Modify.
//   - Edge: a direction is armed until it has been reported, and re-armed when the
//     source reports that a call would have blocked (Rearm). Directions that are
//     not armed are not asked for.
//   - poll(2) reports hang-ups and errors whether asked for or not; NetBSD's never
//     does for sockets, whose end it reports as readiness (docs/platforms.md). A
//     registration with nothing armed stays in the set for these, until one has been
//     reported; then it is left out until it is re-armed, or poll(2) would return
//     immediately each time.
//   - One waiter leads: it sleeps in poll(2), for itself and for the others, which
//     follow (lead.go). A change of the set wakes the leader, which starts again,
//     unless the sleeping call already asks for all that is wanted. A Wait that must
//     not sleep while another leads makes a call of its own (pollBesideLocked).
//   - The result of a poll(2) may be out of date when it is read. Each call is a
//     round, with a number, and each change and each Rearm records the latest
//     number: results of that round and of earlier ones are ignored.
//
// Read watch.go first, the registrations; lead.go and wait.go have how a Wait sleeps.
package poll

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/spin"
	"github.com/pollux-io/pollux/internal/sys"
)

// Selector is a set of registrations and its waiters, the calls of Wait on it.
type Selector struct {
	wakeR, wakeW sys.FD // a pipe that wakes the leader; wakeR is in every round

	waits sync.Pool // of *wait
	selector.Pacer

	mu      sync.Mutex
	watches []watch // unordered
	indexes []int32 // by descriptor: index in watches, plus one
	round   uint64  // the latest round
	passes  uint64  // counts calls of leadLocked and pollBesideLocked: one pass reports a registration once
	lead    leadership
}

// maxDescriptors bounds the numbers that can be watched; limits on open files are
// far below.
const maxDescriptors = 1 << 26

// Open returns an empty selector.
func Open(config selector.Config) (*Selector, error) {
	r, w, e := sys.Pipe()
	if e != 0 {
		return nil, os.NewSyscallError("pipe", e)
	}
	s := &Selector{wakeR: r, wakeW: w}
	s.waits.New = func() any { return &wait{turn: make(chan struct{}, 1)} }
	s.lead.returned.L = &s.mu
	s.Init(config.BusyPoll, true)
	return s, nil
}

// Spin implements selector.Selector.
func (s *Selector) Spin() spin.Stats { return s.Stats() }

// Close closes the pipe. No other call on s may be running.
func (s *Selector) Close() error {
	sys.Close(s.wakeW)
	sys.Close(s.wakeR)
	return nil
}

// Add implements selector.Selector.
func (s *Selector) Add(fd sys.FD, key selector.Key, interest selector.Interest, trigger selector.Trigger) error {
	if err := pollable(fd); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.findLocked(fd) != nil {
		return selector.ErrExists
	}
	if fd >= len(s.indexes) {
		s.indexes = append(s.indexes, make([]int32, max(fd+1, 2*len(s.indexes))-len(s.indexes))...)
	}
	s.watches = append(s.watches, watch{fd: fd})
	s.indexes[fd] = int32(len(s.watches))
	s.setLocked(&s.watches[len(s.watches)-1], key, interest, trigger)
	return nil
}

// pollable returns an error for files that poll(2) always reports as ready, and
// for descriptors that it does not accept.
func pollable(fd sys.FD) error {
	if fd < 0 || fd >= maxDescriptors {
		return os.NewSyscallError("poll", syscall.EBADF)
	}
	kind := sys.FileKind(fd)
	if sys.IsAlwaysReady(kind) {
		return fmt.Errorf("%s: %w", kind, selector.ErrNotPollable)
	}
	one := [1]sys.PollFD{{Fd: int32(fd)}}
	if _, e := sys.Poll(one[:], 0); e != 0 {
		return os.NewSyscallError("poll", e)
	}
	if one[0].Revents&sys.POLLNVAL == 0 {
		return nil
	}
	if kind == "file" { // fstat(2) fails as well
		return os.NewSyscallError("poll", syscall.EBADF)
	}
	return fmt.Errorf("%s: %w", kind, selector.ErrNotPollable)
}

// Modify implements selector.Selector. The next round reports existing readiness
// under the new key.
func (s *Selector) Modify(fd sys.FD, old, key selector.Key, interest selector.Interest, trigger selector.Trigger) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.findByKeyLocked(fd, old)
	if w == nil {
		return os.NewSyscallError("poll", syscall.EBADF)
	}
	s.setLocked(w, key, interest, trigger)
	return nil
}

// setLocked sets key, interest and trigger of a registration and resets what has
// been reported. The caller must hold s.mu.
func (s *Selector) setLocked(w *watch, key selector.Key, interest selector.Interest, trigger selector.Trigger) {
	*w = watch{
		fd: w.fd, key: key, interest: interest, trigger: trigger,
		armed: interest, changed: s.round,
	}
	s.kickLocked()
}

// Delete implements selector.Selector. It returns when no sleeping poll(2) has the
// descriptor any more. Until then the kernel may keep the file open although it is
// closed: a listener's port would stay in use, and a stream's FIN would not be
// sent.
func (s *Selector) Delete(fd sys.FD, key selector.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.findByKeyLocked(fd, key)
	if w == nil {
		return os.NewSyscallError("poll", syscall.EBADF)
	}
	round, polled := w.leaderRound, s.leaderPollsLocked(w)
	s.removeLocked(w)
	if polled {
		s.kickLocked()
		for s.lead.active && s.lead.batch.round == round {
			s.lead.returned.Wait()
		}
	}
	return nil
}

// removeLocked removes w from the set. The caller must hold s.mu.
func (s *Selector) removeLocked(w *watch) {
	i := s.indexes[w.fd] - 1
	s.indexes[w.fd] = 0
	last := len(s.watches) - 1
	if int(i) != last {
		s.watches[i] = s.watches[last]
		s.indexes[s.watches[i].fd] = i + 1
	}
	s.watches = s.watches[:last]
}

// NeedsRearm implements selector.Selector: this package tracks the edges.
func (s *Selector) NeedsRearm() bool { return true }

// WritableIsFree implements selector.Selector.
func (s *Selector) WritableIsFree() bool { return false }

// Rearm implements selector.Selector.
func (s *Selector) Rearm(fd sys.FD, key selector.Key, d selector.Interest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.findByKeyLocked(fd, key)
	if w == nil {
		return
	}
	w.rearm(d, s.round)
	if ask, in := w.wanted(); in && !(s.leaderPollsLocked(w) && ask&^w.leaderAsked == 0) {
		s.kickLocked()
	}
}

// leaderPollsLocked reports whether the leader is in poll(2) with w in its set. The caller
// must hold s.mu.
func (s *Selector) leaderPollsLocked(w *watch) bool {
	return s.lead.active && w.leaderRound == s.lead.batch.round
}

// findLocked returns the registration of fd, or nil. The pointer is valid until the set
// changes. The caller must hold s.mu.
func (s *Selector) findLocked(fd sys.FD) *watch {
	if fd < 0 || fd >= len(s.indexes) || s.indexes[fd] == 0 {
		return nil
	}
	return &s.watches[s.indexes[fd]-1]
}

// findByKeyLocked is findLocked, but returns nil if the registration's key is not key.
func (s *Selector) findByKeyLocked(fd sys.FD, key selector.Key) *watch {
	if w := s.findLocked(fd); w != nil && w.key == key {
		return w
	}
	return nil
}

// Note describes the backend and its timeouts, as text for people.
func Note() string {
	if sys.PollNanos {
		return "poll(2), every descriptor in every call; timeouts in nanoseconds"
	}
	return "poll(2), every descriptor in every call; timeouts in milliseconds"
}
