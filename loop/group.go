package loop

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/internal/admission"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/offload"
	"github.com/pollux-io/pollux/internal/watchdog"
	"github.com/pollux-io/pollux/sock"
)

// A Group is a set of loops that share listeners, limits and a pool for blocking work.
//
// Connections are distributed over the loops: a dialed one, or one given to Attach, goes to the
// loop that has fewest. Where the system balances between sockets (Linux), Listen gives each loop a
// listening socket, and each loop keeps the connections it accepts. Elsewhere, and for Serve,
// ServeUnix and Unix sockets, one loop accepts, and gives each connection to the loop that has
// fewest.
//
// If a loop's driver fails, that is logged, and the loop ends with its connections; the group
// continues with the others, and LoopStats.Failed has the error. A listener with one socket ends
// with the loop that accepts for it.
//
// Its methods may be called from any goroutine, except that those that wait for the loops (Dial,
// Listen, ListenPacket, Serve, ServeUnix, ServePacket, Shutdown, Wait) return ErrOnLoop in a
// callback, on one of the loops. Those that listen or serve wait 50 ms at the most. A loop that is
// in a callback for longer begins to accept after it: until then clients connect, and wait in the
// backlog. If it then cannot accept, which is rare, the error is logged, and the other loops go on.
type Group struct {
	config  Config
	sim     driver.Simulation // nil, unless Config.Network is a simulated network
	clock   clock
	loops   []*Loop
	offload *offload.Pool
	next    atomic.Uint32 // where leastLoaded begins its search

	running  sync.WaitGroup // loops
	live     atomic.Int32   // loops that have not ended
	stopped  chan struct{}  // closed when every loop has ended, after Shutdown
	end      groupEnd
	attached Listener // stands for the listener of connections given to Attach
	watchdog watchdog.Watchdog[moment]

	mu        sync.Mutex
	closing   bool
	cutCause  error             // why connections were cut off
	listeners []*Listener       // in the order of their making, in which Shutdown ends them
	packets   []*PacketListener // likewise

	stalledAfter    time.Duration // for tests; 0: the constant
	handOverTimeout time.Duration // for tests; 0: the constant
	statsTimeout    time.Duration // for tests; 0: the constant

	options []sock.Option // of TCP sockets; those of a call override them

	limits admission.Limits // counts the connections
	cut    atomic.Int64     // connections cut off by Shutdown
	logs   *logs
}

// NewGroup starts the loops. The error wraps ErrBadArgument, pollux.ErrBackend, or the system's
// when out of descriptors (EMFILE) or memory.
func NewGroup(config Config) (*Group, error) {
	if err := config.applyDefaultsAndValidate(); err != nil {
		return nil, err
	}
	sim, _ := config.simulation() // its error is one of validation
	g := &Group{
		config: config, sim: sim, clock: newClock(sim), stopped: make(chan struct{}), end: newGroupEnd(),
		limits: admission.Limits{MaxConns: config.MaxConns, RefuseAbove: config.RefuseAbove},
		logs:   newLogs(config.Logger), options: []sock.Option{sock.KeepAlive(keepAliveOf(config.KeepAlive))},
	}
	g.options = g.onNetwork(g.options)
	for range config.Loops {
		drv, err := openDriver(&config, sim)
		if err != nil {
			for _, l := range g.loops {
				l.drv.Close()
			}
			return nil, fmt.Errorf("loop: starting a loop: %w", err)
		}
		g.loops = append(g.loops, newLoop(g, drv))
	}
	g.offload = offload.New(config.OffloadWorkers, config.OffloadQueue)
	g.live.Store(int32(len(g.loops)))
	for _, l := range g.loops {
		g.running.Add(1)
		go l.run()
	}
	if config.SlowCallback > 0 {
		g.startWatchdog()
	}
	return g, nil
}

// Backend returns the name of the driver in use.
func (g *Group) Backend() string { return g.loops[0].drv.Name() }

// Loops returns the loops, in the order of Loop.Index. The slice is a copy.
func (g *Group) Loops() []*Loop { return append([]*Loop(nil), g.loops...) }

// Conns returns the number of connections, those that are being dialed or closed included. It is
// what Config.MaxConns limits.
func (g *Group) Conns() int { return g.limits.Conns() }

// Config returns the configuration in force, including defaults.
func (g *Group) Config() Config { return g.config }

// leastLoaded returns the loop with the fewest connections among those that have not failed.
func (g *Group) leastLoaded() *Loop {
	first := int(g.next.Add(1))
	best := g.loops[first%len(g.loops)]
	for i := range g.loops {
		l := g.loops[(first+i)%len(g.loops)]
		if l.failed.Load() == nil && (best.failed.Load() != nil || l.load.Load() < best.load.Load()) {
			best = l
		}
	}
	return best
}

// workingLoops returns the loops that have not failed, or all of them if there are none, so that
// callers get their error.
func (g *Group) workingLoops() []*Loop {
	var all []*Loop
	for _, l := range g.loops {
		if l.failed.Load() == nil {
			all = append(all, l)
		}
	}
	if len(all) == 0 {
		return g.loops
	}
	return all
}

// closersOn returns functions that close the group's listening and UDP sockets on a loop.
func (g *Group) closersOn(l *Loop) (ends []func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, ln := range g.listeners {
		for _, a := range ln.acceptors {
			if a.loop == l {
				ends = append(ends, func() { a.close(); a.end() })
			}
		}
	}
	for _, pl := range g.packets {
		for _, p := range pl.conns {
			if p.loop == l {
				ends = append(ends, p.end)
			}
		}
	}
	return ends
}

// Shutdown stops accepting, calls Shutdown of handlers that have it, and lets the connections
// finish; then it waits for the work of Offload. Dials in progress are canceled, with ErrShutdown.
// When ctx ends, it cuts off the connections that have not finished. Afterwards no goroutine and no
// descriptor of the group is left.
//
// A peer that has received everything and FIN still has a second to close its side; one that still has to
// take what the system holds for it has Config.LingerTimeout and Config.MaxLinger, as after Close. If ctx
// ended first, and other connections were cut off, the error is a *ShutdownError, which has
// their number and wraps ctx's error. So it is if a callback or a function of Offload does not
// return: Shutdown waits one more second for those, and leaves them running.
//
// A second Shutdown waits, too; the context that ends first cuts the connections off, for both.
// In a callback Shutdown returns ErrOnLoop, and has no effect: call it in a goroutine of its own
// (go g.Shutdown(ctx)), and do not wait for that in the callback. If a function of Offload calls
// it, Shutdown waits for that function until ctx ends.
func (g *Group) Shutdown(ctx context.Context) error {
	if ctx == nil {
		return fmt.Errorf("loop: shutdown: %w", errNil("a context"))
	}
	if err := g.checkNotOnLoop(); err != nil {
		return fmt.Errorf("loop: shutdown: %w", err)
	}
	g.mu.Lock()
	first := !g.closing
	g.closing = true
	listeners, packets := g.listeners, g.packets
	g.listeners, g.packets = nil, nil
	g.mu.Unlock()
	if first {
		g.beginShutdown(listeners, packets)
	}
	select {
	case <-g.stopped:
	case <-ctx.Done():
		g.cutOff(context.Cause(ctx))
	}
	err := g.shutdownError()
	g.end.finish(err)
	return err
}

// stuckTimeout is how long Shutdown waits, once everything was cut off, for callbacks and
// offloaded functions to return.
const stuckTimeout = time.Second

// cutOff aborts everything that has not finished.
func (g *Group) cutOff(why error) {
	g.mu.Lock()
	if g.cutCause == nil {
		g.cutCause = why
	}
	g.mu.Unlock()
	for _, l := range g.loops {
		l.putEnd(func() { g.cut.Add(int64(l.abortAll(ErrShutdown))) })
	}
	timer := time.NewTimer(stuckTimeout)
	defer timer.Stop()
	select {
	case <-g.stopped:
	case <-timer.C:
	}
}

// shutdownError returns a *ShutdownError about what has not finished, or nil.
func (g *Group) shutdownError() error {
	e := &ShutdownError{Conns: int(g.cut.Load())}
	select {
	case <-g.stopped:
	default:
		for _, l := range g.loops {
			if !l.hasEnded() {
				e.Loops++
			}
		}
		e.Offloaded, _ = g.offload.Stats()
	}
	if e.Conns+e.Loops+e.Offloaded == 0 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	e.Err = g.cutCause
	return e
}

func (g *Group) beginShutdown(listeners []*Listener, packets []*PacketListener) {
	for _, ln := range listeners {
		ln.unlisten()
	}
	for _, p := range packets {
		p.end()
	}
	for _, l := range g.loops {
		l.putEnd(func() {
			l.ending = true
			for i := range l.conns.Len() {
				c := *l.conns.At(i)
				switch c.phase {
				case connecting, starting:
					c.release(ErrShutdown)
				case lingering:
					c.linger()
				default:
					c.submitNextTurn(wantShutdown)
				}
			}
		})
	}
	go func() {
		g.running.Wait()
		g.watchdog.Stop()
		g.offload.Stop()
		g.logs.flush()
		close(g.stopped)
	}()
}

// register calls add, which registers something for Shutdown to end, unless the group is
// closing, there is no handler function, or the caller runs on a loop.
func (g *Group) register(noHandler bool, add func()) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if noHandler {
		return errNoHandlerFunc()
	}
	if g.closing {
		return errGroupEnded
	}
	if err := g.checkNotOnLoop(); err != nil {
		return err
	}
	add()
	return nil
}

// checkListen is called before a socket is made: it returns the error that register would.
func (g *Group) checkListen(noHandler bool) error { return g.register(noHandler, func() {}) }

// ended returns an error if the group is shutting down.
func (g *Group) ended() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing {
		return errGroupEnded
	}
	return nil
}
