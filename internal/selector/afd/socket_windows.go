package afd

import (
	"sync"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// phase is the state of a registration's poll.
type phase uint8

const (
	idle phase = iota
	pending
	cancelled
	landed
)

// A socket is one registration. The package comment describes its states. Its lock
// is taken before the selector's.
type socket struct {
	mu sync.Mutex

	fd     sys.FD
	base   sys.FD
	id     uint32 // index in Selector.sockets
	device *device
	poll   *sys.AFDPoll

	key      selector.Key
	interest selector.Interest
	trigger  selector.Trigger

	phase        phase
	deleted      bool
	fired        bool              // oneshot, and reported
	armed        selector.Interest // edge: directions to report when ready
	asked        uint32            // the events that the poll in flight asks for
	endsReported uint32            // edge: ends of the connection that have been reported
	stale        selector.Interest // directions for which a call would have blocked since the poll was started
	links        [listCount]link
}

// set sets key, interest and trigger of the registration, and resets what has been
// reported.
func (k *socket) set(key selector.Key, interest selector.Interest, trigger selector.Trigger) {
	k.key, k.interest, k.trigger = key, interest, trigger
	k.fired, k.armed, k.endsReported = false, interest, 0
	// The result of a poll in flight may be older than this call.
	k.stale = selector.AnyInterest
}

// wanted returns the events that a poll must ask for; 0 if no poll is needed. If guard
// is set the ends of the connection are wanted even if nothing is armed.
func (k *socket) wanted(guard bool) uint32 {
	var ask uint32
	switch {
	case k.deleted || k.fired:
		return 0
	case k.trigger&selector.Level != 0:
		ask = events(k.interest)
	default:
		ask = ends(k.interest) &^ k.endsReported
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

// updateLocked starts a poll for what is wanted, or cancels the poll in flight if that
// asks for too little. The caller must hold k.mu.
func (s *Selector) updateLocked(k *socket, guard bool) sys.NTStatus {
	ask := k.wanted(guard)
	switch k.phase {
	case idle:
		if ask != 0 {
			return s.startLocked(k, ask)
		}
	case pending:
		if ask&^k.asked != 0 {
			s.cancelLocked(k)
		}
	}
	return sys.STATUS_SUCCESS
}

func (s *Selector) startLocked(k *socket, ask uint32) sys.NTStatus {
	k.asked, k.stale = ask, 0
	status := s.startPoll(k.device.handle, k.base, k.poll, ask, uintptr(k.id)+1)
	if !status.Failed() {
		k.phase = pending
		s.inFlight.Add(1)
	}
	return status
}

// cancelLocked makes the poll complete. STATUS_NOT_FOUND is not an error: the poll has
// completed, but its completion has not been taken yet.
func (s *Selector) cancelLocked(k *socket) {
	k.phase = cancelled
	sys.CancelPoll(k.device.handle, k.poll)
}

// restartLocked is updateLocked for a registration that stays after a failure: it goes
// back to its list, and a Wait tries again within retryAfter. A registration whose handle
// is closed is dropped. The caller must hold k.mu, and outside of restartAll it must call
// wakeIfFailed with the status.
func (s *Selector) restartLocked(k *socket, guard bool) sys.NTStatus {
	status := s.updateLocked(k, guard)
	switch {
	case !status.Failed():
	case status == sys.STATUS_INVALID_HANDLE:
		s.dropLocked(k)
	case guard:
		s.guards.push(k)
	default:
		s.restarts.push(k)
	}
	return status
}

// wakeIfFailed wakes a sleeping Wait if status, that of starting a poll, is a failure: the
// Wait then sleeps for retryAfter at most and tries again.
func (s *Selector) wakeIfFailed(status sys.NTStatus) {
	if status.Failed() {
		s.wake()
	}
}

// isTransient reports whether AFD may start the same poll later.
func isTransient(status sys.NTStatus) bool {
	return status == sys.STATUS_INSUFFICIENT_RESOURCES || status == sys.STATUS_NO_MEMORY
}

// complete handles a poll's completion and returns its event; ok is false if there is
// none to report.
func (s *Selector) complete(k *socket) (ev selector.Event, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s.inFlight.Add(-1)
	return s.finishPollLocked(k)
}

// finishPollLocked returns the event of a completed poll; ok is false if there is none to
// report. It frees a deleted registration; for a live one it starts the next poll, or adds
// the registration to the list from which a Wait does. The caller must hold k.mu.
func (s *Selector) finishPollLocked(k *socket) (ev selector.Event, ok bool) {
	k.phase = idle
	if k.deleted {
		s.deletedInFlight.Add(-1)
		s.releaseLocked(k)
		return ev, false
	}
	got := k.outcome()
	if got&sys.AFD_POLL_LOCAL_CLOSE != 0 {
		s.dropLocked(k)
		return ev, false
	}
	got = withoutStale(got, k.stale) & k.wanted(true)
	if ok = got != 0; ok {
		ev = selector.Event{Key: k.key, Flags: flags(got)}
		k.markReported(got, ev.Flags)
	}
	switch {
	case ok && k.trigger&selector.Level != 0 && !k.fired:
		s.restarts.push(k)
	case k.wanted(false) != 0:
		s.wakeIfFailed(s.restartLocked(k, false))
	case k.wanted(true) != 0:
		s.guards.push(k)
	}
	return ev, ok
}

// outcome returns the events of a completed poll. A poll that has failed, and was not
// cancelled, means an error of the connection.
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

// markReported records the events that a Wait reports.
func (k *socket) markReported(got uint32, f selector.Flags) {
	if k.trigger&selector.Oneshot != 0 {
		k.fired = true
		return
	}
	k.armed &^= selector.Interest(f) & selector.AnyInterest
	k.endsReported |= got & endEvents
	if got&failEvents != 0 { // a connection has no events after a failure
		k.armed, k.endsReported = 0, endEvents
	}
}

// dropLocked removes a registration: after Delete, a failed Add, or when its handle is
// closed. The caller must hold k.mu.
func (s *Selector) dropLocked(k *socket) {
	s.mu.Lock()
	if s.byFD[k.fd] == k {
		delete(s.byFD, k.fd)
	}
	s.mu.Unlock()
	s.endLocked(k)
}

// endLocked marks a registration as deleted and releases its resources, or cancels the
// poll in flight: then its completion releases them. The caller must hold k.mu.
func (s *Selector) endLocked(k *socket) {
	k.deleted = true
	switch k.phase {
	case idle, landed:
		k.phase = idle
		s.releaseLocked(k)
		return
	case pending:
		s.cancelLocked(k)
	}
	s.deletedInFlight.Add(1)
}

// releaseLocked releases the resources of a registration that has no poll in flight. The
// caller must hold k.mu.
func (s *Selector) releaseLocked(k *socket) {
	slots.put(k.poll)
	k.poll = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.devices.release(k.device)
	k.device = nil
	s.free = append(s.free, k)
}
