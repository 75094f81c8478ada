package loop

import (
	"fmt"
	"log/slog"
	"math"
	"net"
	"runtime"
	"time"

	"github.com/pollux-io/pollux"
)

// MaxLoops is how many loops a Group may have.
const MaxLoops = 1024

// Config says how a Group works. The zero Config works; each zero field means its
// default.
type Config struct {
	// Loops is how many loops there are, each on a goroutine of its own. The default
	// is GOMAXPROCS. At most MaxLoops.
	Loops int
	// Backend names the driver: "" for the best there is, a name that pollux.Backend
	// takes, or one that is for loops only: "uring" (Linux) or "overlapped" (Windows).
	// Backends lists them. POLLUX_BACKEND wins.
	Backend string
	// BusyPoll is how long a loop asks the kernel again and again, each time before it
	// sleeps, at most pollux.MaxBusyPoll. Zero: adaptively, for 40 µs at most, and only while
	// recent sleeps have ended so soon that to spin costs less (see pollux.BusyPoll).
	// Negative: not at all. LoopStats.Spin reports what a loop does.
	BusyPoll time.Duration

	// MaxConns is how many connections the group holds at once; zero: as many as
	// there are descriptors.
	MaxConns int
	// RefuseAbove closes connections above MaxConns as soon as they are accepted. By
	// default accepting pauses, and they wait in the backlog.
	RefuseAbove bool

	// HighWatermark and LowWatermark, in bytes that are unsent on one connection: above
	// the one, reading from an accepted connection stops; at the other it goes on, and Drained
	// is called. Dialed connections read on; Conn.SetBackpressure chooses for one. LowWatermark is from 1 to
	// HighWatermark, and that MaxUnsent at most. 256 KiB and 64 KiB.
	HighWatermark, LowWatermark int
	// MaxUnsent is how many bytes may wait to be sent to one connection: past it Write
	// takes nothing. 64 MiB.
	MaxUnsent int
	// MaxUnread is how many bytes of one connection may wait for its handler to consume
	// them, so it must be more than the longest message. A handler that leaves so many
	// and has not paused wants more than that, and would wait for ever: its connection
	// is closed with ErrUnreadFull. One that cannot go on for another reason calls Pause,
	// which stops reading, and Resume later. 1 MiB.
	MaxUnread int
	// ReadBudget is how many bytes one connection may bring, and take, in one turn of
	// the loop; from 1 up. 256 KiB.
	ReadBudget int
	// IdleBuffers is how many bytes of buffers a loop keeps for later, from 1 up. 16 MiB.
	IdleBuffers int

	// LingerTimeout is how long a connection that is being closed waits for the peer to take
	// more of what is left to send, and, when it has everything, to end its side. A peer that
	// takes nothing for so long, twice that at the most, is reset (ErrLingerTimeout; a Unix socket has no
	// reset: its peer finds the end). 10 s.
	LingerTimeout time.Duration
	// MaxLinger is how long a peer that takes what is left to send bit by bit has for all of
	// it, once the connection is being closed. From LingerTimeout up; 30 times that (5 min).
	MaxLinger time.Duration
	// IdleTimeout closes connections that neither receive nor send for so long; zero:
	// never. Conn.SetIdleTimeout sets it for one, and says what counts.
	IdleTimeout time.Duration
	// WriteTimeout closes connections that have bytes unsent of which the peer takes none for
	// so long (ErrWriteTimeout); zero: never. Conn.SetWriteTimeout sets it for one.
	WriteTimeout time.Duration

	// KeepAlive is whether and how the kernel probes whether the peers of silent TCP
	// connections are still there, on accepted and dialed ones. The zero value means on, with
	// the defaults of package net: 15 s of silence, 15 s between probes, 9 probes. Other values
	// are as for Conn.SetKeepAlive, which sets it for one, and need Enable; {Idle: -1} is off.
	// A socket given to Serve that has keep-alive on keeps its own times.
	KeepAlive net.KeepAliveConfig

	// OffloadWorkers is how many goroutines work for Offload at once, and OffloadQueue
	// how much work may wait for them. 64 and 4,096.
	OffloadWorkers, OffloadQueue int

	// MaxQueued is how many functions of Loop.Run may wait for one loop: one more is
	// ErrQueueFull. So many more second halves of Offload may wait than OffloadWorkers and
	// OffloadQueue together. From 1 up. 65,536.
	MaxQueued int

	// SlowCallback is how long a callback may take before it is named in the log: it
	// blocks every connection of its loop. 100 ms; negative: never.
	SlowCallback time.Duration
	// Logger gets warnings: slow callbacks, panics, listeners out of descriptors. The
	// default is slog.Default().
	Logger *slog.Logger
}

// One receive fills as much as a connection may bring in a turn; the memory for it is within
// these. Large receives are what makes bulk fast: 64 KiB at a time cost 1.2 times as much
// processor time (docs/performance.md).
const (
	minScratchBytes = 64 << 10
	maxScratchBytes = 256 << 10
)

// lingerTimes is how many times LingerTimeout MaxLinger is by default.
const lingerTimes = 30

func (c *Config) applyDefaultsAndValidate() error {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	set(&c.Loops, min(runtime.GOMAXPROCS(0), MaxLoops))
	set(&c.HighWatermark, 256<<10)
	set(&c.LowWatermark, min(64<<10, c.HighWatermark))
	set(&c.MaxUnsent, max(64<<20, c.HighWatermark))
	set(&c.MaxUnread, 1<<20)
	set(&c.ReadBudget, 256<<10)
	set(&c.IdleBuffers, 16<<20)
	set(&c.OffloadWorkers, 64)
	set(&c.OffloadQueue, 4096)
	set(&c.MaxQueued, 64<<10)
	if c.LingerTimeout == 0 {
		c.LingerTimeout = 10 * time.Second
	}
	if c.MaxLinger == 0 {
		c.MaxLinger = math.MaxInt64
		if c.LingerTimeout <= math.MaxInt64/lingerTimes {
			c.MaxLinger = lingerTimes * c.LingerTimeout
		}
	}
	if c.SlowCallback == 0 {
		c.SlowCallback = 100 * time.Millisecond
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if err := checkKeepAlive(c.KeepAlive); err != nil {
		return fmt.Errorf("loop: %w: %w", ErrBadConfig, err)
	}
	for _, check := range []struct {
		ok   bool
		what string
	}{
		{c.Loops > 0 && c.Loops <= MaxLoops, fmt.Sprintf("Loops is %d; it must be from 1 to %d", c.Loops, MaxLoops)},
		{c.BusyPoll <= pollux.MaxBusyPoll, fmt.Sprintf("BusyPoll is %v; it must be at most %v", c.BusyPoll, pollux.MaxBusyPoll)},
		{c.MaxConns >= 0, fmt.Sprintf("MaxConns is %d; it must not be negative", c.MaxConns)},
		{c.HighWatermark > 0, fmt.Sprintf("HighWatermark is %d; it must be positive", c.HighWatermark)},
		{c.LowWatermark > 0 && c.LowWatermark <= c.HighWatermark, fmt.Sprintf("LowWatermark is %d; it must be from 1 to HighWatermark, which is %d", c.LowWatermark, c.HighWatermark)},
		{c.HighWatermark <= c.MaxUnsent, fmt.Sprintf("MaxUnsent is %d; it must be HighWatermark at least, which is %d", c.MaxUnsent, c.HighWatermark)},
		{c.MaxUnread > 0, fmt.Sprintf("MaxUnread is %d; it must be positive", c.MaxUnread)},
		{c.ReadBudget > 0, fmt.Sprintf("ReadBudget is %d; it must be positive", c.ReadBudget)},
		{c.IdleBuffers >= 0, fmt.Sprintf("IdleBuffers is %d; it must not be negative", c.IdleBuffers)},
		{c.LingerTimeout > 0, fmt.Sprintf("LingerTimeout is %v; it must be positive", c.LingerTimeout)},
		{c.MaxLinger >= c.LingerTimeout, fmt.Sprintf("MaxLinger is %v; it must be LingerTimeout at least, which is %v", c.MaxLinger, c.LingerTimeout)},
		{c.WriteTimeout >= 0, fmt.Sprintf("WriteTimeout is %v; it must not be negative", c.WriteTimeout)},
		{c.IdleTimeout >= 0, fmt.Sprintf("IdleTimeout is %v; it must not be negative", c.IdleTimeout)},
		{c.OffloadWorkers > 0 && c.OffloadQueue > 0, fmt.Sprintf("OffloadWorkers is %d and OffloadQueue %d; they must be positive", c.OffloadWorkers, c.OffloadQueue)},
		{c.MaxQueued > 0 && c.MaxQueued <= math.MaxInt32/2, fmt.Sprintf("MaxQueued is %d; it must be from 1 to %d", c.MaxQueued, math.MaxInt32/2)},
	} {
		if !check.ok {
			return fmt.Errorf("loop: %w: %s", ErrBadConfig, check.what)
		}
	}
	return nil
}
