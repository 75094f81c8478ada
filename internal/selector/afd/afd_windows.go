package afd

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/spin"
	"github.com/pollux-io/pollux/internal/sys"
)

// Selector is a completion port and the registrations whose polls it collects.
type Selector struct {
	port  sys.FD
	spins spin.Governor
	take  func(timeout time.Duration) error // OpenOn's; nil if the selector owns the port

	mu      sync.RWMutex
	byFD    map[sys.FD]*socket
	sockets []*socket // by number; reused, never freed
	free    []*socket
	devices devices

	inFlight        atomic.Int64 // polls in flight
	deletedInFlight atomic.Int64 // those of deleted registrations
	restarts        list
	guards          list
	landed          list
	waits           sync.Pool // of *wait
	sleep           sleepers

	// startPoll is sys.StartPoll; tests make it fail.
	startPoll func(device, base sys.FD, p *sys.AFDPoll, events uint32, context uintptr) sys.NTStatus
}

// Keys of completions.
const (
	wakeKey = 1 + iota // wakes a Wait
	pollKey            // a poll has completed; Overlapped is the socket's number + 1
)

// Open returns an empty selector.
func Open(config selector.Config) (*Selector, error) {
	port, e := sys.CreatePort()
	if e != 0 {
		return nil, sys.CallError("CreateIoCompletionPort", e)
	}
	s, err := openOn(port, pollKey, config)
	if err != nil {
		sys.CloseHandle(port)
		return nil, err
	}
	return s, nil
}

func openOn(port sys.FD, key uintptr, config selector.Config) (*Selector, error) {
	s := &Selector{
		port:      port,
		byFD:      make(map[sys.FD]*socket),
		devices:   devices{port: port, key: key},
		restarts:  list{which: restartList},
		guards:    list{which: guardList},
		landed:    list{which: landedList},
		startPoll: sys.StartPoll,
	}
	s.waits.New = func() any { return new(wait) }
	s.spins.InitFixed(config.BusyPoll)
	// Open a device now: if AFD cannot be opened, this backend is not usable.
	dev, err := s.devices.acquire()
	if err != nil {
		return nil, err
	}
	s.devices.release(dev)
	return s, nil
}

// Spin implements selector.Selector.
func (s *Selector) Spin() spin.Stats { return s.spins.Stats() }

// closeTimeout bounds the wait for the completions of cancelled polls, which take
// microseconds.
const closeTimeout = 5 * time.Second

// Close cancels the polls in flight, waits for their completions, because the kernel
// writes to their memory until then, and closes the port. No other call on s may be
// running.
func (s *Selector) Close() error {
	for _, k := range s.sockets {
		k.mu.Lock()
		if !k.deleted {
			s.endLocked(k)
		}
		k.mu.Unlock()
	}
	err := s.awaitCancelled()
	for _, dev := range s.devices.available {
		sys.CloseHandle(dev.handle)
	}
	if s.take != nil {
		return err
	}
	if e := sys.CloseHandle(s.port); e != 0 {
		err = errors.Join(err, sys.CallError("CloseHandle", e))
	}
	return err
}

// awaitCancelled waits for the completions of the polls in flight, which have been
// cancelled.
func (s *Selector) awaitCancelled() error {
	w := &wait{events: make([]selector.Event, maxBatch)}
	end := time.Now().Add(closeTimeout)
	for s.inFlight.Load() > 0 {
		left := time.Until(end)
		if left <= 0 {
			// Their memory is never reused, so the kernel overwrites nothing else.
			return fmt.Errorf("close: %d cancelled AFD polls have not completed within %v", s.inFlight.Load(), closeTimeout)
		}
		if s.take != nil {
			if err := s.take(left); err != nil {
				return err
			}
			continue
		}
		taken, e := sys.WaitPort(s.port, w.buffer(), left)
		if _, err := s.dispatch(w, taken, e); err != nil {
			return err
		}
	}
	return nil
}

// Add implements selector.Selector.
func (s *Selector) Add(fd sys.FD, key selector.Key, interest selector.Interest, trigger selector.Trigger) error {
	base, e := sys.BaseSocket(fd)
	switch {
	case sys.IsNotPollable(e):
		return fmt.Errorf("%s: %w", sys.FileKind(fd), selector.ErrNotPollable)
	case e != 0:
		return sys.CallError("WSAIoctl", e)
	}
	k, err := s.attach(fd)
	if err != nil {
		return err
	}
	defer k.mu.Unlock()
	k.base = base
	k.set(key, interest, trigger)
	if status := s.updateLocked(k, false); status.Failed() {
		s.dropLocked(k)
		return startError(fd, status)
	}
	return nil
}

// attach makes a registration for fd and returns it locked.
func (s *Selector) attach(fd sys.FD) (*socket, error) {
	if err := s.checkUnregistered(fd); err != nil {
		return nil, err
	}
	if s.deletedInFlight.Load() >= maxDeletedInFlight {
		s.takeCompletions()
	}
	poll, err := slots.get()
	if err != nil {
		return nil, err
	}
	k := s.unusedSocket()
	k.mu.Lock()
	s.mu.Lock()
	defer s.mu.Unlock()
	dev, err := s.devices.acquire()
	if err == nil && s.byFD[fd] != nil {
		s.devices.release(dev)
		err = selector.ErrExists
	}
	if err != nil {
		slots.put(poll)
		s.free = append(s.free, k)
		k.mu.Unlock()
		return nil, err
	}
	k.fd, k.poll, k.device = fd, poll, dev
	k.deleted = false
	s.byFD[fd] = k
	return k, nil
}

// unusedSocket returns a socket that is not in use, with a unique number. It may
// still be in one of the lists from its last use: a restart that is not needed is
// harmless.
func (s *Selector) unusedSocket() *socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		k := s.free[n-1]
		s.free = s.free[:n-1]
		return k
	}
	k := &socket{id: uint32(len(s.sockets)), deleted: true}
	s.sockets = append(s.sockets, k)
	return k
}

// checkUnregistered returns ErrExists if fd is watched already. If AFD has reported
// that the watched handle was closed, but that completion has not been taken yet, it
// drops the registration: fd is a new socket with the same number.
func (s *Selector) checkUnregistered(fd sys.FD) error {
	k := s.find(fd)
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.deleted || k.fd != fd {
		return nil
	}
	completed := k.phase == landed || k.phase != idle && k.poll.IOStatusBlock.Status != sys.STATUS_PENDING
	if completed && k.outcome()&sys.AFD_POLL_LOCAL_CLOSE != 0 {
		s.dropLocked(k)
		return nil
	}
	return selector.ErrExists
}

// startError returns the error for a poll that AFD has not started. Only AFD may
// detect that fd is not a socket.
func startError(fd sys.FD, status sys.NTStatus) error {
	err := sys.CallError("NtDeviceIoControlFile", status.Errno())
	kind := sys.FileKind(fd)
	if kind != "socket" {
		return fmt.Errorf("%s: %w", kind, selector.ErrNotPollable)
	}
	if isTransient(status) || status == sys.STATUS_INVALID_HANDLE {
		return err
	}
	return fmt.Errorf("%s (%w): %w", kind, err, selector.ErrNotPollable)
}

func (s *Selector) find(fd sys.FD) *socket {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byFD[fd]
}

// findAndLock returns the registration of fd under key, locked, or nil.
func (s *Selector) findAndLock(fd sys.FD, key selector.Key) *socket {
	k := s.find(fd)
	if k == nil {
		return nil
	}
	k.mu.Lock()
	if k.deleted || k.key != key {
		k.mu.Unlock()
		return nil
	}
	return k
}

// Modify implements selector.Selector. A new poll checks the readiness again, so
// existing readiness is reported under the new key. If AFD has no resources for the
// poll, that is not an error: a Wait starts it.
func (s *Selector) Modify(fd sys.FD, old, key selector.Key, interest selector.Interest, trigger selector.Trigger) error {
	k := s.findAndLock(fd, old)
	if k == nil {
		return sys.CallError("modify", syscall.EBADF)
	}
	defer k.mu.Unlock()
	k.set(key, interest, trigger)
	status := s.restartLocked(k, false)
	s.wakeIfFailed(status)
	if status.Failed() && !isTransient(status) {
		return startError(fd, status)
	}
	return nil
}

// Delete implements selector.Selector.
func (s *Selector) Delete(fd sys.FD, key selector.Key) error {
	k := s.findAndLock(fd, key)
	if k == nil {
		return sys.CallError("delete", syscall.EBADF)
	}
	defer k.mu.Unlock()
	s.dropLocked(k)
	return nil
}

// NeedsRearm implements selector.Selector: this package tracks the edges.
func (s *Selector) NeedsRearm() bool { return true }

// WritableIsFree implements selector.Selector.
func (s *Selector) WritableIsFree() bool { return false }

// Rearm implements selector.Selector.
func (s *Selector) Rearm(fd sys.FD, key selector.Key, d selector.Interest) {
	k := s.findAndLock(fd, key)
	if k == nil {
		return
	}
	defer k.mu.Unlock()
	if k.fired {
		return
	}
	if k.phase != idle {
		k.stale |= d
	}
	k.armed |= d & k.interest
	if k.trigger&selector.Level == 0 {
		s.wakeIfFailed(s.restartLocked(k, false))
	}
}

// Note describes the backend, as text for people.
func Note() string {
	return "completion port with AFD polls; sockets only; timeouts in milliseconds"
}
