// Package kqtest is a model of the BSDs' and macOS's kqueue(2), for tests of the
// kqueue selector on machines that have none. It watches this machine's own
// descriptors, on Linux by epoll(7), and tells of them as a BSD kernel does: by
// knotes, with their modes, flags and oddities. What differs between the systems
// is a Flavour.
//
// What it models was taken from kqueue(2) of each system, and from observations
// of NetBSD's and FreeBSD's kqueue code; each of its own tests says which. What
// it leaves out: EVFILT_WRITE's data, filters other than those for reading,
// writing, urgent data and users' own, and nested kqueues. What happens in the very
// moment in which an earlier event is handed out may be reported again. Extra edges of
// pipes (ExtraPipeEdges) appear at the next look: they wake nobody, and a read and a
// write of as many bytes between two looks give none.
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
	// ExtraPipeEdges: with EV_CLEAR, a partial read of a pipe fires EVFILT_READ
	// again, and each write fires EVFILT_WRITE again.
	ExtraPipeEdges bool
	// AckEdges is how many of ten echoes fire EVFILT_WRITE with EV_CLEAR on TCP:
	// acknowledgements do that, though writing has never blocked.
	AckEdges int
	// LevelWakes is how many sleepers a level-triggered event may wake, at the
	// most, where putting it back wakes nobody (Traits.SilentRequeue); one is the
	// least.
	LevelWakes int
	// OneshotRace: an EV_ONESHOT knote that kevent(2) has taken is detached later,
	// under another lock. An EV_ADD in between returns 0 and is lost; two calls
	// that take the knote free it twice, which Kernel.Fault reports.
	OneshotRace bool
	// BrokenPipe is how EVFILT_WRITE is refused on a pipe without a reader.
	BrokenPipe syscall.Errno
	// Tick is the kernel's clock: timeouts are rounded up to it, and one more.
	Tick time.Duration
	// Interrupts makes every so-manieth sleep end with EINTR at once; 0: none.
	Interrupts int
}

// The kernels' clocks: NetBSD was observed at the usual HZ=100, where 1 µs to 10 ms took
// 20 ms, and 50 ms took 60. OpenBSD's is a kernel built with HZ=1000, for short tests.
const (
	netBSDTick  = 10 * time.Millisecond
	openBSDTick = time.Millisecond
)

// The systems. FreeBSD and NetBSD were observed (9.1 and 7.99); the others are as
// their manuals have it.
var (
	FreeBSD = Flavour{
		Name:   "freebsd",
		Traits: kqueue.Traits{User: true, UdataBits: 64},

		EnableTells: true, AckEdges: 5, BrokenPipe: syscall.EPIPE, Interrupts: 7,
	}
	// FreeBSD386 has narrow user data.
	FreeBSD386 = Flavour{
		Name:   "freebsd-386",
		Traits: kqueue.Traits{User: true, UdataBits: 32},

		EnableTells: true, BrokenPipe: syscall.EPIPE,
	}
	NetBSD = Flavour{
		Name:   "netbsd",
		Traits: kqueue.Traits{SilentRequeue: true, UdataBits: 64},

		ClearBeatsDispatch: true, StaleOneshot: true, EventsHaveAdd: true,
		ExtraPipeEdges: true, AckEdges: 9, LevelWakes: 3, OneshotRace: true,
		BrokenPipe: syscall.EBADF, Tick: netBSDTick, Interrupts: 5,
	}
	OpenBSD = Flavour{
		Name:   "openbsd",
		Traits: kqueue.Traits{Except: true, UdataBits: 64},

		EnableTells: true, StaleOneshot: true, BrokenPipe: syscall.EPIPE, Tick: openBSDTick,
	}
	Darwin = Flavour{
		Name:   "darwin",
		Traits: kqueue.Traits{User: true, Except: true, UdataBits: 64},

		EnableTells: true, BrokenPipe: syscall.EPIPE, Interrupts: 3,
	}
	DragonFly = Flavour{
		Name:   "dragonfly",
		Traits: kqueue.Traits{User: true, Except: true, UdataBits: 64},

		EnableTells: true, BrokenPipe: syscall.EPIPE,
	}
)

// Flavours are all of them.
func Flavours() []Flavour {
	return []Flavour{FreeBSD, FreeBSD386, NetBSD, OpenBSD, Darwin, DragonFly}
}
