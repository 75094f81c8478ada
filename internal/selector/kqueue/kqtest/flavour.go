// Package kqtest is a model of the BSDs' and macOS's kqueue(2), for tests of the
// kqueue selector on machines that have none. It watches this machine's own
// descriptors, on Linux by epoll(7), and tells of them as a BSD kernel does: by
// knotes, with their modes, flags and oddities. What differs between the systems
// is a Flavour.
//
// What it models was taken from kqueue(2) of each system, and from observations
// of NetBSD's and FreeBSD's kqueue code; each of its own tests says which. What
// it leaves out: EVFILT_WRITE's data, filters other than those for reading,
// writing, urgent data and users' own, and nested kqueues. News that arrives in
// the very moment in which an earlier piece is handed out may be told again.
package kqtest

import (
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/selector/kqueue"
)

// Flavour is what differs between the systems. The zero Flavour is the least that
// any kqueue has.
type Flavour struct {
	Name   string
	Traits kqueue.Traits

	// EnableTells: EV_ENABLE alone tells what waits. Elsewhere it tells only
	// what came while the knote was disabled.
	EnableTells bool
	// ClearBeatsDispatch: with EV_CLEAR, EV_DISPATCH is ignored.
	ClearBeatsDispatch bool
	// StaleOneshot: an EV_ONESHOT event that was ready once is told even if it is
	// not any more.
	StaleOneshot bool
	// EventsHaveAdd: flags that come back include EV_ADD.
	EventsHaveAdd bool
	// ExtraPipeEdges: an edge of a pipe is told once more while it lasts.
	ExtraPipeEdges bool
	// AckEdges: EVFILT_WRITE with EV_CLEAR on TCP fires on acknowledgements:
	// every other time the same socket has something to read.
	AckEdges bool
	// BrokenPipe is how EVFILT_WRITE is refused on a pipe without a reader.
	BrokenPipe syscall.Errno
	// Tick is the kernel's clock: timeouts are rounded up to it, and one more.
	Tick time.Duration
	// Interrupts makes every so-manieth sleep end with EINTR at once; 0: none.
	Interrupts int
}

// tick is that of a kernel built with HZ=1000. The usual HZ=100, at which NetBSD
// was observed, is the same thing ten times slower.
const tick = time.Millisecond

// The systems. FreeBSD and NetBSD were observed (9.1 and 7.99); the others are as
// their manuals have it.
var (
	FreeBSD = Flavour{
		Name:   "freebsd",
		Traits: kqueue.Traits{User: true, Receipt: true, Dispatch: true, UdataBits: 64},

		EnableTells: true, AckEdges: true, BrokenPipe: syscall.EPIPE, Interrupts: 7,
	}
	// FreeBSD386 has narrow user data.
	FreeBSD386 = Flavour{
		Name:   "freebsd-386",
		Traits: kqueue.Traits{User: true, Receipt: true, Dispatch: true, UdataBits: 32},

		EnableTells: true, BrokenPipe: syscall.EPIPE,
	}
	NetBSD = Flavour{
		Name:   "netbsd",
		Traits: kqueue.Traits{SilentRequeue: true, UdataBits: 64},

		ClearBeatsDispatch: true, StaleOneshot: true, EventsHaveAdd: true,
		ExtraPipeEdges: true, AckEdges: true, BrokenPipe: syscall.EBADF,
		Tick: tick, Interrupts: 5,
	}
	OpenBSD = Flavour{
		Name:   "openbsd",
		Traits: kqueue.Traits{Receipt: true, Dispatch: true, Except: true, UdataBits: 64},

		EnableTells: true, StaleOneshot: true, BrokenPipe: syscall.EPIPE, Tick: tick,
	}
	Darwin = Flavour{
		Name:   "darwin",
		Traits: kqueue.Traits{User: true, Receipt: true, Dispatch: true, Except: true, UdataBits: 64},

		EnableTells: true, BrokenPipe: syscall.EPIPE, Interrupts: 3,
	}
	DragonFly = Flavour{
		Name:   "dragonfly",
		Traits: kqueue.Traits{User: true, Receipt: true, Dispatch: true, Except: true, UdataBits: 64},

		EnableTells: true, BrokenPipe: syscall.EPIPE,
	}
)

// Flavours are all of them.
func Flavours() []Flavour {
	return []Flavour{FreeBSD, FreeBSD386, NetBSD, OpenBSD, Darwin, DragonFly}
}
