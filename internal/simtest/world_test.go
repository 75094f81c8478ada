package simtest

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// world is one run of a program.
type world struct {
	p       *program
	n       *simnet.Network
	script  *simnet.Actor
	server  *simnet.Host // that of the groups
	net     sock.Network // the same
	hosts   []*host
	groups  []*group
	conns   []*conn
	packets *packets
	timers  []*timer

	operations atomic.Int64 // calls of package loop, its callbacks, and the peers' calls

	mu       sync.Mutex // held for the rest, and for the state of everything above
	failures []string
	shared   int // messages whose memory is still in use
	limited  bool
}

// host is a peers' host.
type host struct {
	*simnet.Host
	partitions  [2]bool // from the host, and to it
	partitioned bool    // ever
	since       time.Time
	timedOut    bool // a partition was so long that connections may have timed out
	crashed     bool
}

// group is a Group, and its Fanout.
type group struct {
	w                    *world
	i                    int
	g                    *loop.Group
	fanout               *loop.Fanout
	ln                   *loop.Listener // for several connections, or nil
	fanSent              int            // bytes of its Fanout's stream
	shutdownBegun, isCut bool
	cancel               context.CancelFunc
	shutdown             chan error
}

// outcome is what a run has resulted in.
type outcome struct {
	failures   []string
	operations int64
	simulated  time.Duration
	trace      string
}

// maxFailures is how many failures of a run are kept.
const maxFailures = 10

// run runs p in a bubble. t is not marked as failed.
func run(t *testing.T, p *program) (o outcome) {
	w := &world{p: p}
	defer func() {
		// The bubble panics if a goroutine never ends, or if all of them wait for each other.
		if r := recover(); r != nil {
			w.fail(fmt.Sprintf("%v\n%s", r, testkit.Stacks()))
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		o.failures, o.operations = w.failures, w.operations.Load()
		if w.n != nil && (len(o.failures) > 0 || p.traced) {
			o.trace = w.n.Trace()
		}
	}()
	synctest.Test(t, func(*testing.T) {
		begun := time.Now()
		w.run()
		o.simulated = time.Since(begun)
	})
	return o
}

func (w *world) run() {
	defer func() {
		if r := recover(); r != nil {
			buf := make([]byte, 16<<10)
			w.fail(fmt.Sprintf("panic: %v\n%s", r, buf[:runtime.Stack(buf, false)]))
		}
	}()
	w.setUp()
	for _, s := range w.p.steps {
		w.wait(s.after)
		w.step(s)
		synctest.Wait()
	}
	w.finish()
}

func (w *world) setUp() {
	c := simnet.Config{Seed: w.p.seed, Link: w.p.network.link, Faults: w.p.network.faults}
	if !w.p.traced {
		c.TraceEvents = traceLines // what a failure prints; more would cost time
	}
	w.n = simnet.New(c)
	w.script = w.n.NewActor()
	w.server = w.n.Host()
	w.net = hostNetwork(w.server, w.p.network.adversity)
	for range w.p.network.peerHosts {
		w.hosts = append(w.hosts, &host{Host: w.n.Host()})
	}
	for i := range w.p.setting.groups {
		w.groups = append(w.groups, w.newGroup(i))
		synctest.Wait()
	}
	w.packets = w.newPackets()
	synctest.Wait()
	for i := range w.p.conns {
		w.conns = append(w.conns, w.newConn(i))
		synctest.Wait()
	}
	synctest.Wait()
}

func (w *world) newGroup(i int) *group {
	s := w.p.setting
	g, err := loop.NewGroup(loop.Config{
		Network: w.net, Loops: s.loops, HighWatermarkBytes: s.high, LowWatermarkBytes: s.low, MaxUnsentBytes: s.maxUnsent, MaxUnreadBytes: s.maxUnread,
		TurnBudgetBytes: s.readBudget, IdleBufferBytes: s.idleBuffers, MaxConns: s.maxConns, LingerTimeout: s.linger, OffloadWorkers: 4,
		Logger: slog.New(slog.NewTextHandler(w, nil)),
	})
	if err != nil {
		panic(err)
	}
	return &group{w: w, i: i, g: g, fanout: loop.NewFanout(loop.FanoutConfig{}), shutdown: make(chan error, 1)}
}

func (w *world) fail(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failLocked(s)
}

func (w *world) failLocked(s string) {
	if len(w.failures) < maxFailures {
		w.failures = append(w.failures, s)
	}
	if w.n != nil {
		first, _, _ := strings.Cut(s, "\n")
		w.n.Tracef("FAILED: %s", first)
	}
}

func (w *world) failedLocked(c *conn, format string, args ...any) {
	w.failLocked(fmt.Sprintf("conn %d (%v, %s): %s\n%v\n%v", c.i, c.kind, c.network, fmt.Sprintf(format, args...), c.ends[0], c.ends[1]))
}

// Write implements io.Writer for the groups' log: an unexpected record is a failure.
func (w *world) Write(b []byte) (int, error) {
	expected := []string{errModel.Error(), syscall.EMFILE.Error(), "is stalled", "lines were suppressed"}
	if !slices.ContainsFunc(expected, func(s string) bool { return strings.Contains(string(b), s) }) {
		w.fail("unexpected log record: " + string(b))
	}
	return len(b), nil
}

// locked runs f with w.mu held.
func (w *world) locked(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// called counts an operation: a call of package loop or a callback of it, or a call of a peer.
func (w *world) called() { w.operations.Add(1) }

// wait lets simulated time pass.
func (w *world) wait(d time.Duration) { w.script.Wait(max(d, 0)) }

// waitUntil lets time pass until is returns true, which is called with w.mu held. It returns false if the
// limit has passed.
func (w *world) waitUntil(limit time.Duration, is func() bool) (ok bool) {
	for d, total := time.Microsecond, time.Duration(0); ; d *= 4 {
		if w.locked(func() { ok = is() }); ok || total >= limit {
			return ok
		}
		d = min(d, 10*time.Second)
		w.wait(d)
		synctest.Wait()
		total += d
	}
}

// step does one step.
func (w *world) step(s step) {
	if s.conn == noConn {
		w.globalStep(s)
		return
	}
	c := w.conns[s.conn]
	e := c.ends[s.end]
	switch {
	case s.op == opOpen:
		c.open()
	case c.isPeer(s.end):
		e.doPeer(s)
	case s.from == fromCallback:
		w.locked(func() { e.todo = append(e.todo, s) })
	default:
		e.doFrom(s)
	}
}

func (w *world) globalStep(s step) {
	switch s.op {
	case opPartition, opPartitionB:
		w.partition(w.hosts[s.n], int(s.op-opPartition), true)
	case opHeal:
		w.heal(w.hosts[s.n])
	case opCrash:
		w.crash(w.hosts[s.n])
	case opDescriptors:
		w.limitDescriptors(s.n)
	case opTimer:
		w.startTimer(s.n)
	case opTimerStop:
		w.stopTimer()
	case opTimerReset:
		w.resetTimer(s.n)
	case opSend:
		for _, g := range w.groups {
			g.send(s.n)
		}
	case opDatagram:
		w.sendDatagrams(s.n)
	case opEach:
		for _, g := range w.groups {
			g.each()
		}
	case opShutdown:
		w.groups[s.n].beginShutdown()
	case opCut:
		w.groups[s.n].cut()
	}
}

// keepAliveTimeout is a time after which keep-alive probes may end a connection: 15 s of silence, and 9
// probes, in the default configuration.
const keepAliveTimeout = 100 * time.Second

func (w *world) partition(h *host, direction int, on bool) {
	w.locked(func() {
		if on && h.since.IsZero() {
			h.since = time.Now()
		}
		h.partitions[direction], h.partitioned = on, true
	})
	if direction == 0 {
		w.n.Partition(h.Host, w.server, on)
	} else {
		w.n.Partition(w.server, h.Host, on)
	}
}

func (w *world) heal(h *host) {
	if h.since.IsZero() {
		return
	}
	w.locked(func() {
		h.timedOut = h.timedOut || time.Since(h.since) > keepAliveTimeout
		h.since = time.Time{}
	})
	for direction := range h.partitions {
		if h.partitions[direction] {
			w.partition(h, direction, false)
			w.locked(func() { h.since = time.Time{} })
		}
	}
}

// crash makes the sockets of a host vanish. Its peers' goroutines end with an error.
func (w *world) crash(h *host) {
	w.locked(func() {
		h.crashed = true
		for _, c := range w.conns {
			if c.host == h {
				for _, e := range c.ends {
					if e.player != nil {
						e.noteArrivedLocked()
						e.player.dead = true
					}
				}
			}
		}
	})
	h.Crash()
	h.Restart()
}

// limitDescriptors lets the server's host open n more descriptors, or any number if n is zero.
func (w *world) limitDescriptors(n int) {
	w.locked(func() { w.limited = w.limited || n > 0 })
	most := math.MaxInt
	if n > 0 {
		most = w.server.Descriptors() + n
	}
	w.server.SetMaxDescriptors(most)
}

// beginShutdown calls Shutdown on a goroutine.
func (g *group) beginShutdown() {
	if g.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.w.locked(func() { g.cancel, g.shutdownBegun = cancel, true })
	g.w.called()
	go func() { g.shutdown <- g.g.Shutdown(ctx) }()
}

// cut ends the context of Shutdown.
func (g *group) cut() {
	if g.cancel != nil {
		g.w.locked(func() { g.isCut = true })
		g.cancel()
	}
}

// each visits the connections of the group, and checks that each is visited once.
func (g *group) each() {
	visited := map[*loop.Conn]bool{}
	g.w.called()
	err := g.g.Each(func(c *loop.Conn) {
		g.w.called()
		g.w.locked(func() {
			if visited[c] {
				g.w.failLocked("Each visited a connection twice")
			}
			visited[c] = true
		})
	})
	if err != nil && !g.shutdownBegun {
		g.w.fail(fmt.Sprintf("Each: %v", err))
	}
}
