package pollux

import (
	"fmt"
	"time"
)

// An Option changes how New makes a Poll.
type Option func(*config) error

type config struct {
	backend     string
	busyPoll    time.Duration // as in selector.Config
	blockThread bool
}

// MaxBusyPoll is the longest time that BusyPoll accepts.
const MaxBusyPoll = time.Second

// BusyPoll makes Wait ask the kernel again and again for up to d, from 0 (not at
// all) to MaxBusyPoll, each time before it sleeps. It lowers latency at the price
// of a busy processor.
//
// Without this option Wait spins adaptively: for a short time, 40 µs at most, and only while
// recent sleeps have ended so soon that spinning costs less than they do. Poll.Spin
// reports what it does. On Windows, whose clock is too coarse to measure such times,
// Wait does not spin by itself.
func BusyPoll(d time.Duration) Option {
	return func(c *config) error {
		if d < 0 || d > MaxBusyPoll {
			return fmt.Errorf("BusyPoll(%v): %w: it goes from 0 to %v", d, ErrBadOption, MaxBusyPoll)
		}
		c.busyPoll = d
		if d == 0 {
			c.busyPoll = -1 // never; zero is adaptive
		}
		return nil
	}
}

// Backend chooses a backend by name, as the environment variable POLLUX_BACKEND
// does for a whole process; the variable wins. Backends tells the names. One that
// this machine lacks makes New fail with ErrBackend.
func Backend(name string) Option {
	return func(c *config) error {
		c.backend = name
		return nil
	}
}

// BlockThread makes a sleeping Wait block its thread in the kernel instead of
// parking its goroutine in Go's poller. It is for goroutines that have called
// runtime.LockOSThread, and where a kernel's own wake-up latency matters more
// than threads. Where waiting always blocks a thread it changes nothing.
func BlockThread() Option {
	return func(c *config) error {
		c.blockThread = true
		return nil
	}
}
