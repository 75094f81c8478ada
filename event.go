package pollux

import (
	"strconv"
	"strings"

	"github.com/pollux-io/pollux/internal/selector"
)

// A Token is the caller's identifier for a registration or a Waker; its events carry it. A Poll
// does not interpret tokens, and they need not be unique.
type Token uint64

// An Interest is the readiness that a registration asks for: one or more of Readable, Writable
// and Priority, combined with |. ReadClosed, WriteClosed and Failed are always reported.
type Interest uint8

const (
	// Readable: bytes, a datagram, a connection to accept, or the end of the stream
	// can be read.
	Readable = Interest(selector.Readable)
	// Writable: the kernel accepts bytes, or an attempt to connect has ended.
	Writable = Interest(selector.Writable)
	// Priority: urgent data has arrived (EPOLLPRI; tcp(7), MSG_OOB).
	Priority = Interest(selector.Priority)
)

// String returns the names of the directions, joined by |, or "none".
func (i Interest) String() string {
	return join(uint8(i), []string{"Readable", "Writable", "Priority"})
}

// A Trigger selects when readiness is reported: Edge or Level, and Oneshot with either,
// combined with |.
type Trigger uint8

const (
	// Edge, the zero value: one event for each change from not ready to ready. Read, write or
	// accept until sock.ErrWouldBlock, or until a short read from a TCP stream
	// (sock.Stream.Read); the next change causes a new event. More readiness before that, such
	// as further bytes, may be reported again or not: epoll and kqueue do, Windows and poll(2)
	// do not.
	Edge Trigger = 0
	// Level: an event from every Wait while the source is ready.
	Level = Trigger(selector.Level)
	// Oneshot: one event, then none until Reregister re-arms the registration. With many
	// waiters it ensures that one goroutine at a time has an event of the registration.
	Oneshot = Trigger(selector.Oneshot)
)

// String returns the trigger's names, joined by |.
func (t Trigger) String() string {
	s := "Edge"
	if t&Level != 0 {
		s = "Level"
	}
	if t&Oneshot != 0 {
		s += "|Oneshot"
	}
	return s
}

// An Event reports the readiness of one registration, or the wake of a Waker. Readable and
// Writable are hints: try the operation, and treat sock.ErrWouldBlock as normal.
// docs/platforms.md maps each kernel's flags to those of an Event.
type Event struct {
	token Token
	flags selector.Flags
}

// EventState is what an Event reports, for NewEvent: each field is the result of the method of
// that name.
type EventState struct {
	Readable, Writable, Priority, ReadClosed, WriteClosed, Failed, Closed bool
}

// NewEvent returns an event with the token and the state, for tests of code that handles events.
// It belongs to no Poll.
func NewEvent(token Token, state EventState) Event {
	e := Event{token: token}
	for i, is := range [...]bool{
		state.Readable, state.Writable, state.Priority, state.ReadClosed, state.WriteClosed, state.Failed, state.Closed,
	} {
		if is {
			e.flags |= 1 << i
		}
	}
	return e
}

// Token returns the token of the registration or the Waker.
func (e Event) Token() Token { return e.token }

// Readable reports whether a read or an accept should be tried. It accompanies ReadClosed and
// Failed, if the registration's interest includes it.
func (e Event) Readable() bool { return e.flags.Readable() }

// Writable reports whether a write should be tried, or connecting has ended. It accompanies
// WriteClosed and Failed, if the registration's interest includes it.
func (e Event) Writable() bool { return e.flags.Writable() }

// Priority reports whether urgent data has arrived (sock.TCPStream.ReadUrgent).
func (e Event) Priority() bool { return e.flags.Priority() }

// ReadClosed reports whether no bytes will follow those that are unread: the peer has closed its
// sending side or the connection has ended, or this side has shut down receiving.
func (e Event) ReadClosed() bool { return e.flags.ReadClosed() }

// WriteClosed reports whether writes will fail from now on.
func (e Event) WriteClosed() bool { return e.flags.WriteClosed() }

// Failed reports whether the source has an error, which the next call on it returns.
func (e Event) Failed() bool { return e.flags.Failed() }

// Closed reports whether the Poll was closed while the registration was live. It is the
// registration's last event. The source itself is still open.
func (e Event) Closed() bool { return e.flags.Closed() }

// String returns the token and the names of the methods that report true.
func (e Event) String() string {
	return "token " + strconv.FormatUint(uint64(e.token), 10) + ": " + join(uint8(e.flags), []string{
		"Readable", "Writable", "Priority", "ReadClosed", "WriteClosed", "Failed", "Closed",
	})
}

func join(bits uint8, names []string) string {
	var set []string
	for i, name := range names {
		if bits&(1<<i) != 0 {
			set = append(set, name)
		}
	}
	if len(set) == 0 {
		return "none"
	}
	return strings.Join(set, "|")
}
