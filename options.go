package pollux

import (
	"fmt"
	"time"

	"github.com/pollux-io/pollux/internal/queue"
)

// An Option configures New.
type Option func(*settings) error

type settings = queue.Settings

// MaxBusyPoll is the longest time that BusyPoll accepts.
const MaxBusyPoll = time.Second

// BusyPoll makes Wait spin: it polls the kernel repeatedly for up to d before it sleeps. d is
// from 0 (do not spin) to MaxBusyPoll; otherwise New returns ErrBadArgument. Spinning lowers
// latency and keeps a processor busy.
//
// Without this option Wait spins adaptively: for at most 40 µs, and only while recent sleeps
// have ended so soon that spinning costs less than they do. Poll.Spin returns the statistics.
// On Windows, whose clock is too coarse to measure such times, Wait does not spin without this
// option.
func BusyPoll(d time.Duration) Option {
	return func(s *settings) error {
		if d < 0 || d > MaxBusyPoll {
			return fmt.Errorf("BusyPoll(%v): %w: the range is 0 to %v", d, ErrBadArgument, MaxBusyPoll)
		}
		s.BusyPoll = d
		if d == 0 {
			s.BusyPoll = -1 // never; zero is adaptive
		}
		return nil
	}
}

// Backend selects a backend by a name that Backends returns; the empty name means the best one
// that is usable. The environment variable POLLUX_BACKEND selects it for the whole process and
// overrides this option. If the backend does not exist or is not usable on this machine, New
// returns ErrBackend; so it does for those that only loops can use, such as uring (loop.Backends).
func Backend(name string) Option {
	return func(s *settings) error {
		s.Backend = name
		return nil
	}
}

// BlockThread makes a sleeping Wait block its thread in the kernel. By default, on epoll, only
// its goroutine sleeps, and the thread runs others. BlockThread is for goroutines that have
// called runtime.LockOSThread, and for programs to which wake-up latency matters more than the
// number of threads. It has no effect with other backends, which always block a thread.
func BlockThread() Option {
	return func(s *settings) error {
		s.BlockThread = true
		return nil
	}
}
