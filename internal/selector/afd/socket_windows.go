package afd

import (
	"sync"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// phase is where the poll of a registration is.
type phase uint8

const (
	idle phase = iota
	pending
	cancelled
	landed
)

// A socket is one registration. The package comment tells its states. Its lock
// may be held when the selector's is taken, not the other way round.
type socket struct {
	mu sync.Mutex

	fd     sys.FD
	base   sys.FD
	id     uint32 // place in Selector.sockets
	device *device
	poll   *sys.AFDPoll

	key      selector.Key
	interest selector.Interest
	trigger  selector.Trigger

	phase   phase
	deleted bool
	spent   bool              // oneshot, and told
	armed   selector.Interest // edge: directions to be told when ready
	asked   uint32            // what the poll in flight asks for
	ended   uint32            // edge: ends of the connection that have been told
	doubt   selector.Interest // directions in which a call would have blocked meanwhile
	links   [listCount]link
}

// set gives the registration its terms, and forgets what has been told.
func (k *socket) set(key selector.Key, interest selector.Interest, trigger selector.Trigger) {
	k.key, k.interest, k.trigger = key, interest, trigger
	k.spent, k.armed, k.ended = false, interest, 0
	// What a poll in flight brings may be older than this.
	k.doubt = selector.AnyInterest
}

// wanted returns what a poll should ask for; 0 if there should be none. guard says
// that the ends of the connection are wanted even if nothing is armed.
func (k *socket) wanted(guard bool) uint32 {
	var ask uint32
	switch {
	case k.deleted || k.spent:
		return 0
	case k.trigger&selector.Level != 0:
		ask = events(k.interest)
	default:
		ask = ends(k.interest) &^ k.ended
		if k.armed != 0 {
			ask |= events(k.armed)
		} else if !guard {
			ask = 0
		}
	}
	if ask == 0 {
		return 0
	}
	return ask | sys.AFD_POLL_LOCAL_CLOSE
}

// update sees to it that a poll asks for what is wanted. The socket is locked.
func (s *Selector) update(k *socket, guard bool) sys.NTStatus {
	ask := k.wanted(guard)
	switch k.phase {
	case idle:
		if ask != 0 {
			return s.start(k, ask)
		}
	case pending:
		if ask&^k.asked != 0 {
			s.cancel(k)
		}
	}
	return sys.STATUS_SUCCESS
}

func (s *Selector) start(k *socket, ask uint32) sys.NTStatus {
	k.asked, k.doubt = ask, 0
	status := s.startPoll(k.device.handle, k.base, k.poll, ask, uintptr(k.id)+1)
	if !status.Failed() {
		k.phase = pending
		s.inFlight.Add(1)
	}
	return status
}

// cancel makes the poll complete. STATUS_NOT_FOUND is well: it has completed, and
// only its completion has not been taken yet.
func (s *Selector) cancel(k *socket) {
	k.phase = cancelled
	sys.CancelPoll(k.device.handle, k.poll)
}

// restart is update for a registration that lives on after a failure: it goes back to its
// list, and a Wait tries again within retryAfter. But a handle that is closed is its end.
// The socket is locked. Outside of flush, retryLater must follow a failure.
func (s *Selector) restart(k *socket, guard bool) sys.NTStatus {
	status := s.update(k, guard)
	switch {
	case !status.Failed():
	case status == sys.STATUS_INVALID_HANDLE:
		s.drop(k)
	case guard:
		s.guards.push(k)
	default:
		s.again.push(k)
	}
	return status
}

// retryLater makes a Wait that sleeps count the time to the next try, if status, that of a
// poll that was to be started, is a failure.
func (s *Selector) retryLater(status sys.NTStatus) {
	if status.Failed() {
		s.wake()
	}
}

// isTransient reports whether AFD may start the same poll later.
func isTransient(status sys.NTStatus) bool {
	return status == sys.STATUS_INSUFFICIENT_RESOURCES || status == sys.STATUS_NO_MEMORY
}

// complete takes note of a poll's completion. It returns false if there is nothing
// to tell.
func (s *Selector) complete(k *socket) (ev selector.Event, tell bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s.inFlight.Add(-1)
	return s.look(k)
}

// look finds out what a poll that has completed tells.
func (s *Selector) look(k *socket) (ev selector.Event, tell bool) {
	k.phase = idle
	if k.deleted {
		s.dying.Add(-1)
		s.release(k)
		return ev, false
	}
	got := k.outcome()
	if got&sys.AFD_POLL_LOCAL_CLOSE != 0 {
		s.drop(k)
		return ev, false
	}
	got = certain(got, k.doubt) & k.wanted(true)
	if tell = got != 0; tell {
		ev = selector.Event{Key: k.key, Flags: flags(got)}
		k.told(got, ev.Flags)
	}
	switch {
	case tell && k.trigger&selector.Level != 0 && !k.spent:
		s.again.push(k)
	case k.wanted(false) != 0:
		s.retryLater(s.restart(k, false))
	case k.wanted(true) != 0:
		s.guards.push(k)
	}
	return ev, tell
}

// outcome returns the events that a completed poll has brought. One that has
// failed, as opposed to having been cancelled, is an error of the connection.
func (k *socket) outcome() uint32 {
	switch status := k.poll.IOStatusBlock.Status; {
	case status == sys.STATUS_CANCELLED:
		return 0
	case status == sys.STATUS_INVALID_HANDLE:
		return sys.AFD_POLL_LOCAL_CLOSE
	case status.Failed():
		return sys.AFD_POLL_CONNECT_FAIL
	case k.poll.NumberOfHandles == 0:
		return 0
	}
	return k.poll.Events
}

// told takes note of what a Wait hands out.
func (k *socket) told(got uint32, f selector.Flags) {
	if k.trigger&selector.Oneshot != 0 {
		k.spent = true
		return
	}
	k.armed &^= selector.Interest(f) & selector.AnyInterest
	k.ended |= got & endEvents
	if got&failEvents != 0 { // the last that can be said of a connection
		k.armed, k.ended = 0, endEvents
	}
}

// drop ends a registration whose handle has been closed.
func (s *Selector) drop(k *socket) {
	s.mu.Lock()
	if s.byFD[k.fd] == k {
		delete(s.byFD, k.fd)
	}
	s.mu.Unlock()
	s.end(k)
}

// end ends a registration that nobody finds any more. What it holds is given back
// when no poll is in flight.
func (s *Selector) end(k *socket) {
	k.deleted = true
	switch k.phase {
	case idle, landed:
		k.phase = idle
		s.release(k)
		return
	case pending:
		s.cancel(k)
	}
	s.dying.Add(1)
}

// release gives back what a registration without a poll in flight holds.
func (s *Selector) release(k *socket) {
	slots.put(k.poll)
	k.poll = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.devices.leave(k.device)
	k.device = nil
	s.free = append(s.free, k)
}
