package pollux

import (
	"strconv"
	"strings"

	"github.com/pollux-io/pollux/internal/selector"
)

// A Token is the caller's name for a registration; events carry it back. Pollux
// gives it no meaning: tokens may repeat.
type Token uint64

// Interest says which readiness a registration asks for: one or more of
// Readable, Writable and Priority, joined by |. Errors and hang-ups are always
// told.
type Interest uint8

const (
	// Readable: there are bytes, a datagram, a connection to accept, or the end
	// of the stream.
	Readable = Interest(selector.Readable)
	// Writable: the kernel takes bytes; or an attempt to connect has ended.
	Writable = Interest(selector.Writable)
	// Priority: there is urgent data (EPOLLPRI; tcp(7), MSG_OOB).
	Priority = Interest(selector.Priority)
)

// String returns the interest in words.
func (i Interest) String() string {
	return join(uint8(i), []string{"Readable", "Writable", "Priority"})
}

// Trigger says how often readiness is told: Edge or Level, and Oneshot with
// either, joined by |.
type Trigger uint8

const (
	// Edge, the default: one event for each change from not ready to ready.
	// Drain the source, until sock.ErrWouldBlock or a short read from a TCP stream
	// (sock.Stream.Read); the next change gives a new event. More of what is ready
	// already, such as data that arrives before the source is drained, may be reported
	// again or not: epoll and kqueue do, Windows and poll(2) do not.
	Edge Trigger = 0
	// Level: an event from every Wait while the readiness lasts.
	Level = Trigger(selector.Level)
	// Oneshot: one event, then silence until Reregister. With many waiters it
	// makes sure that one goroutine at a time has an event of the registration.
	Oneshot = Trigger(selector.Oneshot)
)

// String returns the trigger in words.
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

// An Event tells what Wait found out about one registration. Readable and
// Writable are hints: act, and treat sock.ErrWouldBlock as normal.
// docs/platforms.md has the table of what each kernel's flags become.
type Event struct {
	token Token
	flags selector.Flags
}

// Token returns the token that was registered.
func (e Event) Token() Token { return e.token }

// Readable reports whether a read, or an accept, should be tried. It is also
// set with ReadClosed and Error, if it was asked for.
func (e Event) Readable() bool { return e.flags&selector.ReadableFlag != 0 }

// Writable reports whether a write should be tried. It is also set with
// WriteClosed and Error, if it was asked for.
func (e Event) Writable() bool { return e.flags&selector.WritableFlag != 0 }

// Priority reports whether there is urgent data.
func (e Event) Priority() bool { return e.flags&selector.PriorityFlag != 0 }

// ReadClosed reports whether the peer will send no more, or this side has shut
// down reading. There may still be bytes to be read.
func (e Event) ReadClosed() bool { return e.flags&selector.ReadClosed != 0 }

// WriteClosed reports whether writes will fail from now on.
func (e Event) WriteClosed() bool { return e.flags&selector.WriteClosed != 0 }

// Error reports whether the source has an error; the next call on it tells
// which.
func (e Event) Error() bool { return e.flags&selector.Error != 0 }

// Closed reports whether the Poll was closed while the registration was live.
// It is the registration's last event, and says nothing about the source, which
// is still open.
func (e Event) Closed() bool { return e.flags&selector.Closed != 0 }

// String returns the event in words.
func (e Event) String() string {
	return "token " + strconv.FormatUint(uint64(e.token), 10) + ": " + join(uint8(e.flags), []string{
		"Readable", "Writable", "Priority", "ReadClosed", "WriteClosed", "Error", "Closed",
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
