package loop

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A Group is a few loops that share listeners, limits and a pool for blocking work.
// Its methods may be called from any goroutine.
type Group struct {
	config  Config
	began   time.Time
	loops   []*Loop
	offload *offload
	next    atomic.Uint32 // where least begins to look

	running  sync.WaitGroup
	stopped  chan struct{} // closed when every loop has ended
	watchdog chan struct{} // closed to end it

	mu        sync.Mutex
	closing   bool
	listeners map[*Listener]struct{}
	packets   map[*PacketListener]struct{}

	conns atomic.Int64
}

// NewGroup starts the loops.
func NewGroup(config Config) (*Group, error) {
	if err := config.settle(); err != nil {
		return nil, err
	}
	g := &Group{
		config: config, began: time.Now(), stopped: make(chan struct{}), watchdog: make(chan struct{}),
		listeners: map[*Listener]struct{}{}, packets: map[*PacketListener]struct{}{},
	}
	for range config.Loops {
		drv, err := openDriver(&config)
		if err != nil {
			for _, l := range g.loops {
				l.drv.Close()
			}
			return nil, fmt.Errorf("loop: starting a loop: %w", err)
		}
		g.loops = append(g.loops, newLoop(g, drv))
	}
	g.offload = newOffload(config.OffloadWorkers, config.OffloadQueue)
	for _, l := range g.loops {
		g.running.Add(1)
		go l.run()
	}
	if config.SlowCallback > 0 {
		g.running.Add(1)
		go g.watch()
	}
	return g, nil
}

// Backend returns the name of the driver in use.
func (g *Group) Backend() string { return g.loops[0].drv.Name() }

// Loops returns the loops.
func (g *Group) Loops() []*Loop { return append([]*Loop(nil), g.loops...) }

// Conns returns how many connections are open.
func (g *Group) Conns() int { return int(g.conns.Load()) }

// least returns the loop with the fewest connections.
func (g *Group) least() *Loop {
	first := int(g.next.Add(1))
	best := g.loops[first%len(g.loops)]
	for i := range g.loops {
		if l := g.loops[(first+i)%len(g.loops)]; l.load.Load() < best.load.Load() {
			best = l
		}
	}
	return best
}

// mayOpen counts a new connection in, unless there are MaxConns.
func (g *Group) mayOpen() bool {
	n := g.conns.Add(1)
	if g.config.MaxConns > 0 && n > int64(g.config.MaxConns) {
		g.conns.Add(-1)
		return false
	}
	return true
}

// connEnded counts a connection out; listeners that wait for room go on.
func (g *Group) connEnded() {
	n := g.conns.Add(-1)
	if g.config.MaxConns > 0 && n == int64(g.config.MaxConns)-1 {
		g.resumeListeners()
	}
}

// Run runs f on the loop, soon. It may be called from any goroutine. Once the loop has
// ended, after Shutdown, f is not run.
func (l *Loop) Run(f func()) { l.put(op{f: f}) }

// Shutdown stops accepting, tells handlers that have a Shutdown method, and lets the
// connections finish. When ctx ends, it cuts off those that have not, and if there were
// any, returns a *ShutdownError that says how many, and wraps ctx's error. Afterwards no
// goroutine and no descriptor of the group is left. A second Shutdown waits for the first,
// or for its own ctx.
func (g *Group) Shutdown(ctx context.Context) error {
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
		return nil
	case <-ctx.Done():
	}
	var cut atomic.Int64
	for _, l := range g.loops {
		l.Run(func() { cut.Add(int64(l.abortAll(ErrShutdown))) })
	}
	<-g.stopped
	if n := cut.Load(); n > 0 {
		return &ShutdownError{Conns: int(n), Err: context.Cause(ctx)}
	}
	return nil
}

func (g *Group) beginShutdown(listeners map[*Listener]struct{}, packets map[*PacketListener]struct{}) {
	for ln := range listeners {
		ln.unlisten()
	}
	for p := range packets {
		p.end()
	}
	for _, l := range g.loops {
		l.Run(func() {
			l.ending = true
			for _, c := range l.conns {
				c.askLater(wantShutdown)
			}
		})
	}
	close(g.watchdog)
	go func() {
		g.running.Wait()
		g.offload.stop()
		close(g.stopped)
	}()
}

// watch names callbacks that block their loop: one whose turn does not end.
func (g *Group) watch() {
	defer g.running.Done()
	limit := g.config.SlowCallback
	tick := time.NewTicker(max(limit/4, time.Millisecond))
	defer tick.Stop()
	type seen struct {
		turn  uint64
		since time.Time
		told  bool
	}
	last := make([]seen, len(g.loops))
	for i := range last {
		last[i].since = g.began
	}
	for {
		select {
		case <-g.watchdog:
			return
		case now := <-tick.C:
			for i, l := range g.loops {
				s := &last[i]
				if turn := l.turn.Load(); turn != s.turn || !l.awake.Load() {
					*s = seen{turn: turn, since: now}
					continue
				}
				if now.Sub(s.since) < limit || s.told {
					continue
				}
				s.told = true
				l.nameBlocker(i, now.Sub(s.since))
			}
		}
	}
}

func (l *Loop) nameBlocker(index int, since time.Duration) {
	l.slow.Add(1)
	args := []any{"loop", index, "for at least", since}
	if c := l.running.Load(); c != nil {
		args = append(args, "remote", c.RemoteAddr(), "handler", c.handlerName())
	} else if p := l.runningPacket.Load(); p != nil {
		args = append(args, "local", p.LocalAddr(), "handler", fmt.Sprintf("%T", p.handler))
	}
	l.g.config.Logger.Warn("pollux: a callback blocks its loop, and every connection of it; use Offload for work that waits", args...)
}

var errNetwork = errors.New(`unknown network; there are "tcp", "tcp4", "tcp6" and "unix"`)
