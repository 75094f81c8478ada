package loop

import (
	"fmt"
	"log/slog"
	"math"
	"net"
	"runtime"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/sock"
)

// MaxLoops is the largest number of loops of a Group.
const MaxLoops = 1024

// Config configures a Group. The zero Config is valid; each zero field means its default, which
// ends the field's comment. No number and no time may be negative, unless the comment gives it a
// meaning: otherwise NewGroup returns ErrBadArgument.
type Config struct {
	// Loops is the number of loops, each on a goroutine of its own. The default is GOMAXPROCS, or 1 on
	// a simulated network, where a run must not depend on the machine. At most MaxLoops.
	Loops int
	// Backend names the driver: "" for the best available, a name that pollux.Backend takes, or
	// one that is for loops only: "uring" (Linux) or "overlapped" (Windows). Backends lists
	// them. POLLUX_BACKEND overrides it.
	Backend string
	// Network is the network that the sockets of the group are on: nil for that of the operating
	// system, or a host of a simulated network (package loop/looptest). A simulated network has
	// a driver of its own, "sim": Backend must be empty then, or that name, and neither
	// POLLUX_BACKEND nor BusyPoll has an effect. Its clock is the clock of timers and timeouts.
	Network sock.Network

	// BusyPoll is how long a loop polls the kernel before each sleep, at most
	// pollux.MaxBusyPoll. Zero: adaptive, for 40 µs at most, and only while recent sleeps were
	// so short that spinning costs less (pollux.BusyPoll). Negative: never. LoopStats.Spin
	// reports what a loop does.
	BusyPoll time.Duration

	// MaxConns is the maximum number of connections of the group; zero: limited only by the
	// number of descriptors.
	MaxConns int
	// RefuseAbove closes connections above MaxConns as soon as they are accepted. By default
	// accepting pauses, and they wait in the backlog.
	RefuseAbove bool

	// HighWatermarkBytes and LowWatermarkBytes are numbers of unsent bytes of one connection: above
	// the high one, reading from an accepted connection stops; at the low one it resumes, and
	// Drained is called. Reading from dialed connections does not stop. Conn.SetBackpressure
	// overrides this for one connection, and Conn.SetWatermarks the numbers. LowWatermarkBytes is
	// from 1 to HighWatermarkBytes, which is at most MaxUnsentBytes. 256 KiB, and 64 KiB or
	// HighWatermarkBytes, if that is less.
	HighWatermarkBytes, LowWatermarkBytes int
	// MaxUnsentBytes is the maximum number of unsent bytes of one connection: a Write that would
	// exceed it takes nothing. 64 MiB, or HighWatermarkBytes, if that is more.
	MaxUnsentBytes int
	// MaxUnreadBytes is how many bytes of one connection may be unread by its handler, so it must be
	// at least the length of the longest message. A handler that leaves so many and has not paused needs more
	// than that, and would wait forever: its connection is closed with ErrUnreadFull. One that
	// cannot continue for another reason calls Pause, which stops reading, and Resume later.
	// 1 MiB.
	MaxUnreadBytes int
	// TurnBudgetBytes is how many bytes one connection may receive, and send, in one turn of the
	// loop; at least 1. 256 KiB.
	TurnBudgetBytes int
	// IdleBufferBytes is how many bytes of unused buffers a loop keeps, at least 1. 16 MiB.
	IdleBufferBytes int

	// LingerTimeout is how long a connection that is being closed waits for the peer to take
	// more of the unsent bytes, and, when it has everything, to close its side. A peer that
	// takes nothing for so long, twice that at the most, is reset (ErrLingerTimeout; a Unix
	// socket has no reset: its peer reads the end of the stream). 10 s.
	LingerTimeout time.Duration
	// MaxLinger is how long a peer that takes the unsent bytes slowly has for all of them, once
	// the connection is being closed. At least LingerTimeout; 30 times that (5 min).
	MaxLinger time.Duration
	// IdleTimeout closes connections that neither receive nor send for so long; zero: never.
	// Conn.SetIdleTimeout sets it for one connection, and defines what counts.
	IdleTimeout time.Duration
	// WriteTimeout closes connections whose peer takes no unsent bytes for so long
	// (ErrWriteTimeout); zero: never. Conn.SetWriteTimeout sets it for one connection.
	WriteTimeout time.Duration

	// KeepAlive configures the kernel's keep-alive probes of silent TCP connections, accepted
	// and dialed. The zero value means on, with the defaults of package net: 15 s of silence,
	// 15 s between probes, 9 probes. Other values are as for Conn.SetKeepAlive, which sets it for
	// one connection, and need Enable; {Idle: -1} is off. A socket given to Serve that has
	// keep-alive on keeps its own times.
	KeepAlive net.KeepAliveConfig

	// OffloadWorkers is the maximum number of goroutines that run functions of Offload, and
	// OffloadQueue the maximum number of functions queued for them. 64 and 4,096.
	OffloadWorkers, OffloadQueue int

	// MaxQueuedFuncs is how many functions of Loop.Run, and calls of Group.Each, may be queued for
	// one loop: one more is ErrQueueFull. The second halves of Offload have a limit of their own:
	// MaxQueuedFuncs, OffloadWorkers and OffloadQueue together. From 1 to 2^30-1. 65,536.
	MaxQueuedFuncs int

	// SlowCallback is how long a callback may run before it is logged: it blocks every
	// connection of its loop. 100 ms, or never on a simulated network; negative: never.
	SlowCallback time.Duration
	// Logger gets warnings: slow callbacks, panics, listeners out of descriptors. The default is
	// slog.Default().
	Logger *slog.Logger
}

// One receive fills as much as a connection may receive in a turn; its buffer is within these
// bounds. Large receives make bulk transfers fast: 64 KiB at a time cost 1.2 times as much
// processor time (docs/performance.md).
const (
	minScratchBytes = 64 << 10
	maxScratchBytes = 256 << 10
)

// lingerTimes is the default of MaxLinger, in multiples of LingerTimeout.
const lingerTimes = 30

// applyDefaultsAndValidate sets zero fields to their defaults and returns an error if a field is
// invalid.
func (c *Config) applyDefaultsAndValidate() error {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	set(&c.HighWatermarkBytes, 256<<10)
	set(&c.LowWatermarkBytes, min(64<<10, c.HighWatermarkBytes))
	set(&c.MaxUnsentBytes, max(64<<20, c.HighWatermarkBytes))
	set(&c.MaxUnreadBytes, 1<<20)
	set(&c.TurnBudgetBytes, 256<<10)
	set(&c.IdleBufferBytes, 16<<20)
	set(&c.OffloadWorkers, 64)
	set(&c.OffloadQueue, 4096)
	set(&c.MaxQueuedFuncs, 64<<10)
	if c.LingerTimeout == 0 {
		c.LingerTimeout = 10 * time.Second
	}
	if c.MaxLinger == 0 {
		c.MaxLinger = math.MaxInt64
		if c.LingerTimeout <= math.MaxInt64/lingerTimes {
			c.MaxLinger = lingerTimes * c.LingerTimeout
		}
	}
	host, err := c.simulation()
	if err != nil {
		return fmt.Errorf("loop: Network: %w", err)
	}
	sim := host != nil
	if sim {
		set(&c.Loops, 1)
	}
	set(&c.Loops, min(runtime.GOMAXPROCS(0), MaxLoops))
	if sim && c.Backend == "" {
		c.Backend = simulated
	}
	if c.SlowCallback == 0 && !sim {
		c.SlowCallback = 100 * time.Millisecond
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if err := checkKeepAlive(c.KeepAlive); err != nil {
		return fmt.Errorf("loop: %w", err)
	}
	for _, check := range []struct {
		ok   bool
		what string
	}{
		{c.Loops > 0 && c.Loops <= MaxLoops, fmt.Sprintf("Loops is %d; it must be from 1 to %d", c.Loops, MaxLoops)},
		{(c.Backend == simulated) == sim, fmt.Sprintf("Backend is %q; leave it empty with Network, and set Network for %q", c.Backend, simulated)},
		{c.BusyPoll <= pollux.MaxBusyPoll, fmt.Sprintf("BusyPoll is %v; it must be at most %v", c.BusyPoll, pollux.MaxBusyPoll)},
		{c.MaxConns >= 0, fmt.Sprintf("MaxConns is %d; it must not be negative", c.MaxConns)},
		{c.HighWatermarkBytes > 0, fmt.Sprintf("HighWatermarkBytes is %d; it must be positive", c.HighWatermarkBytes)},
		{c.LowWatermarkBytes > 0 && c.LowWatermarkBytes <= c.HighWatermarkBytes, fmt.Sprintf("LowWatermarkBytes is %d; it must be from 1 to HighWatermarkBytes, which is %d", c.LowWatermarkBytes, c.HighWatermarkBytes)},
		{c.HighWatermarkBytes <= c.MaxUnsentBytes, fmt.Sprintf("MaxUnsentBytes is %d; it must be at least HighWatermarkBytes, which is %d", c.MaxUnsentBytes, c.HighWatermarkBytes)},
		{c.MaxUnreadBytes > 0, fmt.Sprintf("MaxUnreadBytes is %d; it must be positive", c.MaxUnreadBytes)},
		{c.TurnBudgetBytes > 0, fmt.Sprintf("TurnBudgetBytes is %d; it must be positive", c.TurnBudgetBytes)},
		{c.IdleBufferBytes >= 0, fmt.Sprintf("IdleBufferBytes is %d; it must not be negative", c.IdleBufferBytes)},
		{c.LingerTimeout > 0, fmt.Sprintf("LingerTimeout is %v; it must be positive", c.LingerTimeout)},
		{c.MaxLinger >= c.LingerTimeout, fmt.Sprintf("MaxLinger is %v; it must be at least LingerTimeout, which is %v", c.MaxLinger, c.LingerTimeout)},
		{c.WriteTimeout >= 0, fmt.Sprintf("WriteTimeout is %v; it must not be negative", c.WriteTimeout)},
		{c.IdleTimeout >= 0, fmt.Sprintf("IdleTimeout is %v; it must not be negative", c.IdleTimeout)},
		{c.OffloadWorkers > 0 && c.OffloadQueue > 0, fmt.Sprintf("OffloadWorkers is %d and OffloadQueue %d; they must be positive", c.OffloadWorkers, c.OffloadQueue)},
		{c.MaxQueuedFuncs > 0 && c.MaxQueuedFuncs <= math.MaxInt32/2, fmt.Sprintf("MaxQueuedFuncs is %d; it must be from 1 to %d", c.MaxQueuedFuncs, math.MaxInt32/2)},
	} {
		if !check.ok {
			return fmt.Errorf("loop: %w: %s", ErrBadArgument, check.what)
		}
	}
	return nil
}
