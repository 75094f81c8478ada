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
	take  func(timeout time.Duration) error // OpenOn's; nil if the port is our own

	mu      sync.RWMutex
	byFD    map[sys.FD]*socket
	sockets []*socket // by number; used again, never given back
	free    []*socket
	devices devices

	inFlight atomic.Int64
	dying    atomic.Int64 // those of them that are of deleted registrations
	again    list
	guards   list
	landed   list
	waits    sync.Pool // of *wait
	sleep    sleepers

	// startPoll is sys.StartPoll; tests make it fail.
	startPoll func(device, base sys.FD, p *sys.AFDPoll, events uint32, context uintptr) sys.NTStatus
}

// Keys of completions.
const (
	wakeKey = 1 + iota // somebody wants a Wait to return
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
		again:     list{which: againList},
		guards:    list{which: guardList},
		landed:    list{which: landedList},
		startPoll: sys.StartPoll,
	}
	s.waits.New = func() any { return new(wait) }
	s.spins.InitFixed(config.BusyPoll)
	// A device now: where AFD cannot be opened, this backend is not usable.
	dev, err := s.devices.take()
	if err != nil {
		return nil, err
	}
	s.devices.leave(dev)
	return s, nil
}

// Spin implements selector.Selector.
func (s *Selector) Spin() spin.Stats { return s.spins.Stats() }

// closeTimeout bounds the wait for the completions of cancelled polls, which take
// microseconds.
const closeTimeout = 5 * time.Second

// Close cancels the polls in flight, waits for their completions, since the kernel
// writes to their memory until then, and releases the port. Nobody may be using s.
func (s *Selector) Close() error {
	for _, k := range s.sockets {
		k.mu.Lock()
		if !k.deleted {
			s.end(k)
		}
		k.mu.Unlock()
	}
	err := s.settle()
	for _, dev := range s.devices.open {
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

// settle takes the completions of the polls in flight, which have been cancelled.
func (s *Selector) settle() error {
	w := &wait{events: make([]selector.Event, maxBatch)}
	end := time.Now().Add(closeTimeout)
	for s.inFlight.Load() > 0 {
		left := time.Until(end)
		if left <= 0 {
			// Their memory is never used again, so nothing else is overwritten.
			return fmt.Errorf("%d polls have not completed after they were cancelled", s.inFlight.Load())
		}
		if s.take != nil {
			if err := s.take(left); err != nil {
				return err
			}
			continue
		}
		taken, e := sys.WaitPort(s.port, w.room(), left)
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
	if status := s.update(k, false); status.Failed() {
		s.drop(k)
		return refused(fd, status)
	}
	return nil
}

// attach makes a registration for fd and returns it locked.
func (s *Selector) attach(fd sys.FD) (*socket, error) {
	if err := s.vacate(fd); err != nil {
		return nil, err
	}
	if s.dying.Load() >= maxDying {
		s.collect()
	}
	poll, err := slots.get()
	if err != nil {
		return nil, err
	}
	k := s.blank()
	k.mu.Lock()
	s.mu.Lock()
	defer s.mu.Unlock()
	dev, err := s.devices.take()
	if err == nil && s.byFD[fd] != nil {
		s.devices.leave(dev)
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

// blank returns a socket that is not in use, under a number of its own. It may be
// in one of the lists still, from its last use; to be restarted once more than is
// needed does no harm.
func (s *Selector) blank() *socket {
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

// vacate finds out whether fd is watched already. A registration of a handle that
// was closed without Delete goes out of the way of a new socket with its number,
// if AFD has said so and only nobody has taken its completion yet.
func (s *Selector) vacate(fd sys.FD) error {
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
		s.drop(k)
		return nil
	}
	return selector.ErrExists
}

// refused makes an error of a poll that AFD would not start. It may find out only
// then that fd is no socket.
func refused(fd sys.FD, status sys.NTStatus) error {
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

// hold returns the registration of fd under key, locked; nil if there is none.
func (s *Selector) hold(fd sys.FD, key selector.Key) *socket {
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

// Modify implements selector.Selector. A poll asks for the readiness anew, so what
// is there already is reported under the new key. A poll that AFD has no resources for is
// no error: a Wait starts it.
func (s *Selector) Modify(fd sys.FD, old, key selector.Key, interest selector.Interest, trigger selector.Trigger) error {
	k := s.hold(fd, old)
	if k == nil {
		return sys.CallError("modify", syscall.EBADF)
	}
	defer k.mu.Unlock()
	k.set(key, interest, trigger)
	status := s.restart(k, false)
	s.retryLater(status)
	if status.Failed() && !isTransient(status) {
		return refused(fd, status)
	}
	return nil
}

// Delete implements selector.Selector.
func (s *Selector) Delete(fd sys.FD, key selector.Key) error {
	k := s.hold(fd, key)
	if k == nil {
		return sys.CallError("delete", syscall.EBADF)
	}
	defer k.mu.Unlock()
	s.drop(k)
	return nil
}

// NeedsBlocked implements selector.Selector: edges are made here.
func (s *Selector) NeedsBlocked() bool { return true }

// Blocked implements selector.Selector.
func (s *Selector) Blocked(fd sys.FD, key selector.Key, d selector.Interest) {
	k := s.hold(fd, key)
	if k == nil {
		return
	}
	defer k.mu.Unlock()
	if k.spent {
		return
	}
	if k.phase != idle {
		k.doubt |= d
	}
	k.armed |= d & k.interest
	if k.trigger&selector.Level == 0 {
		s.retryLater(s.restart(k, false))
	}
}

// Note says what the backend is made of, for people.
func Note() string {
	return "completion port with AFD polls; sockets only; timeouts in milliseconds"
}
