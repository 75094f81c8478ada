//go:build unix

// Package poll reports readiness by poll(2), for systems without anything better,
// and to compare the others with.
//
// poll(2) keeps nothing between calls: each call is given all descriptors, and
// costs as much. So the selector keeps the set, and makes of it what poll(2) lacks:
//
//   - Level is poll's own. A oneshot registration leaves the set once it has been
//     reported, until Modify.
//   - Edge: a direction is armed until it has been reported, and again when the
//     source says that a call would have blocked (Blocked). What is not armed is not
//     asked for.
//   - poll(2) reports hang-ups and errors whether asked for or not; NetBSD's never
//     does for sockets, whose ends are readiness there (docs/platforms.md). A
//     registration of which nothing is armed stays in the set for these, until one
//     has been reported; then it is left out until it is armed again, or poll(2)
//     would return at once, again and again.
//   - One waiter leads: it sleeps in poll(2), for itself and for the others, who
//     follow (lead.go). A change of the set wakes the leader, who starts anew, unless
//     the sleeping call asks for what is wanted already. A Wait that must not sleep
//     while another leads makes a call of its own (look).
//   - What a call of poll(2) has found may be old when it is looked at. Each call is
//     a round, with a number, and each change and each Blocked remembers the latest
//     number: results of that round and of earlier ones do not count.
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

// Selector is a set of registrations and those who wait on it.
type Selector struct {
	wakeR, wakeW sys.FD // a pipe that wakes the leader; wakeR is in every round

	waits sync.Pool // of *wait
	selector.Pacer

	mu      sync.Mutex
	watches []watch // in no order
	places  []int32 // by descriptor: where in watches, plus one
	round   uint64  // the latest round
	passes  uint64  // of collect and look: what one pass has reported it does not report again
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

// Close releases the pipe. Nobody may be using s.
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
	if s.find(fd) != nil {
		return selector.ErrExists
	}
	if fd >= len(s.places) {
		s.places = append(s.places, make([]int32, max(fd+1, 2*len(s.places))-len(s.places))...)
	}
	s.watches = append(s.watches, watch{fd: fd})
	s.places[fd] = int32(len(s.watches))
	s.set(&s.watches[len(s.watches)-1], key, interest, trigger)
	return nil
}

// pollable refuses what poll(2) calls ready at all times, and what it does not
// know.
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
	if kind == "file" { // not even fstat(2) knows it
		return os.NewSyscallError("poll", syscall.EBADF)
	}
	return fmt.Errorf("%s: %w", kind, selector.ErrNotPollable)
}

// Modify implements selector.Selector. The next round tells under the new key what
// is there already.
func (s *Selector) Modify(fd sys.FD, old, key selector.Key, interest selector.Interest, trigger selector.Trigger) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.holder(fd, old)
	if w == nil {
		return os.NewSyscallError("poll", syscall.EBADF)
	}
	s.set(w, key, interest, trigger)
	return nil
}

// set gives a registration its terms, and forgets what has been told.
func (s *Selector) set(w *watch, key selector.Key, interest selector.Interest, trigger selector.Trigger) {
	*w = watch{
		fd: w.fd, key: key, interest: interest, trigger: trigger,
		armed: interest, changed: s.round,
	}
	s.kick()
}

// Delete implements selector.Selector. It returns when no sleeping poll(2) has the
// descriptor any more: until then the kernel may keep the file open, whoever
// closes it, a listener's port would stay taken, and a stream's FIN would not go
// out.
func (s *Selector) Delete(fd sys.FD, key selector.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.holder(fd, key)
	if w == nil {
		return os.NewSyscallError("poll", syscall.EBADF)
	}
	round, asleep := w.asleepIn, s.sleepsWith(w)
	s.remove(w)
	if asleep {
		s.kick()
		for s.lead.active && s.lead.batch.round == round {
			s.lead.returned.Wait()
		}
	}
	return nil
}

// remove takes w out of the set.
func (s *Selector) remove(w *watch) {
	i := s.places[w.fd] - 1
	s.places[w.fd] = 0
	last := len(s.watches) - 1
	if int(i) != last {
		s.watches[i] = s.watches[last]
		s.places[s.watches[i].fd] = i + 1
	}
	s.watches = s.watches[:last]
}

// NeedsBlocked implements selector.Selector: edges are made here.
func (s *Selector) NeedsBlocked() bool { return true }

// Blocked implements selector.Selector.
func (s *Selector) Blocked(fd sys.FD, key selector.Key, d selector.Interest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.holder(fd, key)
	if w == nil {
		return
	}
	w.block(d, s.round)
	if ask, in := w.asks(); in && !(s.sleepsWith(w) && ask&^w.asked == 0) {
		s.kick()
	}
}

// sleepsWith reports whether the leader is in poll(2) with w in its set.
func (s *Selector) sleepsWith(w *watch) bool {
	return s.lead.active && w.asleepIn == s.lead.batch.round
}

// find returns the registration of fd, nil if there is none. It is valid until the
// set changes.
func (s *Selector) find(fd sys.FD) *watch {
	if fd < 0 || fd >= len(s.places) || s.places[fd] == 0 {
		return nil
	}
	return &s.watches[s.places[fd]-1]
}

// holder is find for the registration with the key.
func (s *Selector) holder(fd sys.FD, key selector.Key) *watch {
	if w := s.find(fd); w != nil && w.key == key {
		return w
	}
	return nil
}

// Note says what the kernel's call can do, for people.
func Note() string {
	if sys.PollNanos {
		return "poll(2), every descriptor in every call; timeouts in nanoseconds"
	}
	return "poll(2), every descriptor in every call; timeouts in milliseconds"
}
