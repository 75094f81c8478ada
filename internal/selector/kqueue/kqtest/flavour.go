// Package kqtest is a model of the BSDs' and macOS's kqueue(2), for tests of the
// kqueue selector on systems without kqueue. It watches this machine's own
// descriptors, on Linux by epoll(7), and reports events as a BSD kernel does: by
// knotes, with their modes, flags and peculiarities. A Flavour describes what
// differs between the systems.
//
// The model follows kqueue(2) of each system, and observations of NetBSD's and
// FreeBSD's kqueue code; each test names its source. It leaves out EVFILT_WRITE's
// data, filters other than those for reading, writing, urgent data and
// EVFILT_USER, and nested kqueues. Activity that coincides with the delivery of an
// earlier event may be reported again. Extra edges of pipes (ExtraPipeEdges) appear
// at the next check of the pipe: they wake no waiter, and a read and a write of the
// same number of bytes between two checks give none.
package kqtest

import (
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/selector/kqueue"
)

// Flavour describes how a system's kqueue differs. The zero Flavour has only what
// every kqueue has.
type Flavour struct {
	Name   string
	Traits kqueue.Traits

	// EnableFires: EV_ENABLE alone reports existing readiness. On other systems it
	// reports only activity that occurred while the knote was disabled.
	EnableFires bool
	// ClearBeatsDispatch: with EV_CLEAR, EV_DISPATCH is ignored.
	ClearBeatsDispatch bool
	// StaleOneshot: an EV_ONESHOT event that was ready once is reported even if it
	// is no longer ready.
	StaleOneshot bool
	// EventsHaveAdd: the flags of events include EV_ADD.
	EventsHaveAdd bool
	// ExtraPipeEdges: with EV_CLEAR, a partial read of a pipe fires EVFILT_READ
	// again, and each write fires EVFILT_WRITE again.
	ExtraPipeEdges bool
	// AckEdges is how many of ten echoes fire EVFILT_WRITE with EV_CLEAR on TCP:
	// acknowledgements do that, although no write has blocked.
	AckEdges int
	// LevelWakes is the maximum number of sleepers that a level-triggered event
	// wakes if putting it back wakes none (Traits.SilentRequeue); the minimum is
	// one.
	LevelWakes int
	// OneshotRace: kevent(2) takes an EV_ONESHOT knote, and detaches it later under
	// another lock. An EV_ADD in between returns 0 and is lost; two calls that take
	// the knote free it twice, which Kernel.Fault reports.
	OneshotRace bool
	// BrokenPipe is the error of adding EVFILT_WRITE for a pipe without a reader.
	BrokenPipe syscall.Errno
	// Tick is the kernel's clock tick: timeouts are rounded up to ticks, plus one.
	Tick time.Duration
	// Interrupts n makes every n-th sleep fail with EINTR immediately; 0: none.
	Interrupts int
}

// The kernels' clocks: NetBSD was observed at the usual HZ=100, where 1 µs to 10 ms took
// 20 ms, and 50 ms took 60. OpenBSD's is a kernel built with HZ=1000, for short tests.
const (
	netBSDTick  = 10 * time.Millisecond
	openBSDTick = time.Millisecond
)

// The systems. FreeBSD and NetBSD were observed (9.1 and 7.99); the others follow
// their manuals.
var (
	FreeBSD = Flavour{
		Name:   "freebsd",
		Traits: kqueue.Traits{User: true, UdataBits: 64},

		EnableFires: true, AckEdges: 5, BrokenPipe: syscall.EPIPE, Interrupts: 7,
	}
	// FreeBSD386 has narrow user data.
	FreeBSD386 = Flavour{
		Name:   "freebsd-386",
		Traits: kqueue.Traits{User: true, UdataBits: 32},

		EnableFires: true, BrokenPipe: syscall.EPIPE,
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

		EnableFires: true, StaleOneshot: true, BrokenPipe: syscall.EPIPE, Tick: openBSDTick,
	}
	Darwin = Flavour{
		Name:   "darwin",
		Traits: kqueue.Traits{User: true, Except: true, UdataBits: 64},

		EnableFires: true, BrokenPipe: syscall.EPIPE, Interrupts: 3,
	}
	DragonFly = Flavour{
		Name:   "dragonfly",
		Traits: kqueue.Traits{User: true, Except: true, UdataBits: 64},

		EnableFires: true, BrokenPipe: syscall.EPIPE,
	}
)

// Flavours returns all flavours.
func Flavours() []Flavour {
	return []Flavour{FreeBSD, FreeBSD386, NetBSD, OpenBSD, Darwin, DragonFly}
}
