package loop_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// run is one run of a program: a group, its pairs of ends, and what has failed.
type run struct {
	t     testing.TB // whose network it is
	p     *program
	g     *loop.Group
	dir   string
	pairs []*pair

	steps            atomic.Int64  // steps done, for the shutdown plan
	progress         atomic.Uint64 // changes with every change of state
	stuck            atomic.Bool   // no progress for too long: all waits return
	shutdownBegun    atomic.Bool   // Shutdown has been called
	shutdownReturned atomic.Bool   // Shutdown has returned
	cancel           context.CancelFunc
	shutdownErr      chan error
	abandon          chan struct{} // closed if Shutdown does not return even after that
	meeting          sync.WaitGroup

	mu       sync.Mutex
	failures []string
}

// maxFailures is how many failures of a run are kept.
const maxFailures = 10

func (r *run) fail(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.failures) < maxFailures {
		r.failures = append(r.failures, s)
	}
}

// Write implements io.Writer for the group's log: an unexpected record is a failure.
func (r *run) Write(b []byte) (int, error) {
	if !strings.Contains(string(b), errModel.Error()) {
		r.fail("unexpected log record: " + string(b))
	}
	return len(b), nil
}

// mayLingerTimeout reports whether LingerTimeout is short enough to expire.
func (r *run) mayLingerTimeout() bool { return r.p.setting.linger < noLinger }

// runProgram runs p and returns its failures. It gives up after stuckAfter without progress.
func runProgram(t *testing.T, p *program, stuckAfter time.Duration) []string {
	before := testkit.CountUsage()
	dir, err := os.MkdirTemp("", "m") // short, for the paths of Unix sockets
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	r := &run{t: t, p: p, dir: dir, shutdownErr: make(chan error, 1), abandon: make(chan struct{})}
	s := p.setting
	r.g, err = newGroup(t, loop.Config{
		Loops: s.loops, HighWatermarkBytes: s.high, LowWatermarkBytes: s.low, MaxUnsentBytes: s.maxUnsent, MaxUnreadBytes: s.maxUnread, TurnBudgetBytes: s.readBudget,
		IdleBufferBytes: s.idleBuffers, MaxConns: s.maxConns, LingerTimeout: s.linger, BusyPoll: s.busyPoll, SlowCallback: -1,
		Logger: slog.New(slog.NewTextHandler(r, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.g.SetStalledAfter(longTimeout) // its log record depends on how fast the machine is
	for i := range p.pairs {
		r.pairs = append(r.pairs, newPair(r, i))
	}
	watched := make(chan struct{})
	var watchdog sync.WaitGroup
	watchdog.Go(func() { r.watch(watched, stuckAfter) })
	r.run()
	close(watched)
	watchdog.Wait()
	if !r.stuck.Load() {
		if leak := before.Leak(); leak != "" {
			r.fail(leak)
		}
	}
	return r.failures
}

func (r *run) run() {
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	defer r.cancel()
	r.meeting.Add(len(r.pairs))
	var scripts sync.WaitGroup
	for _, p := range r.pairs {
		scripts.Go(p.run)
	}
	if r.p.shutdown.begin == 0 {
		scripts.Wait()
		go r.shutdown(ctx)
	} else {
		r.scheduleShutdown(ctx)
		scripts.Wait()
	}
	for _, p := range r.pairs {
		p.end()
	}
	var err error
	select {
	case err = <-r.shutdownErr:
	case <-r.abandon:
		r.fail("Shutdown does not return")
	}
	if err != nil && (r.p.shutdown.cut == 0 || !errors.As(err, new(*loop.ShutdownError))) && !r.stuck.Load() {
		r.fail(fmt.Sprintf("Shutdown: %v", err))
	}
}

// scheduleShutdown calls Shutdown, and cancels its context, at the planned steps.
func (r *run) scheduleShutdown(ctx context.Context) {
	go func() {
		for {
			n := int(r.steps.Load())
			all := r.allStepped()
			if !r.shutdownBegun.Load() && (n >= r.p.shutdown.begin || all || r.stuck.Load()) {
				r.startShutdown(ctx)
			}
			if r.shutdownBegun.Load() {
				r.meetWithoutUnopened()
			}
			if cut := r.p.shutdown.cut; r.shutdownBegun.Load() && (cut > 0 && (n >= cut || all)) || r.stuck.Load() {
				r.cancel()
				return
			}
			if r.shutdownBegun.Load() && r.p.shutdown.cut == 0 && r.shutdownReturned.Load() {
				return
			}
			time.Sleep(100 * time.Microsecond) // polling: the order of steps and shutdown is not exact
		}
	}()
}

// meetWithoutUnopened lets the pairs meet without those that are not open: once Shutdown has begun,
// a connection in the backlog may never be accepted, and Shutdown waits for those that meet.
func (r *run) meetWithoutUnopened() {
	for _, p := range r.pairs {
		p.mu.Lock()
		unopened := slices.ContainsFunc(p.ends[:], (*end).mayStayUnopenedLocked)
		p.mu.Unlock()
		if unopened {
			p.met.Do(r.meeting.Done)
		}
	}
}

// allStepped reports whether all scripts have done their steps.
func (r *run) allStepped() bool {
	for _, p := range r.pairs {
		if !p.stepped.Load() {
			return false
		}
	}
	return true
}

func (r *run) startShutdown(ctx context.Context) {
	r.shutdownBegun.Store(true)
	r.changed()
	go r.shutdown(ctx)
}

// changed makes every wait check its condition again.
func (r *run) changed() {
	for _, p := range r.pairs {
		p.changed()
	}
}

func (r *run) shutdown(ctx context.Context) {
	r.shutdownBegun.Store(r.p.shutdown.begin > 0)
	err := r.g.Shutdown(ctx)
	r.shutdownReturned.Store(true)
	r.changed()
	r.shutdownErr <- err
}

// watch is the watchdog: it marks the run as stuck after limit without progress.
func (r *run) watch(done chan struct{}, limit time.Duration) {
	const tick = 50 * time.Millisecond
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	seen, since := r.progress.Load(), time.Duration(0)
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
		}
		// Ticks are counted, not the time: while the machine is suspended, none occur.
		if n := r.progress.Load(); n != seen {
			seen, since = n, 0
			continue
		}
		if since += tick; since < limit {
			continue
		}
		what := fmt.Sprintf(noProgress+"; %+v", r.g.Stats())
		if limit == stuckAfter {
			what += "\n" + testkit.Stacks()
		}
		r.fail(what)
		for _, p := range r.pairs {
			p.locked(func() {
				switch {
				case p.waits != "":
					p.failLocked("timed out waiting for %s", p.waits)
				case p.ends[0].isOpenLocked() || p.ends[1].isOpenLocked():
					p.failLocked("an end is open after the script")
				}
			})
		}
		r.stuck.Store(true)
		for _, p := range r.pairs {
			p.changed()
			p.abort()
		}
		r.cancel()
		select {
		case <-done:
		case <-time.After(min(limit, 5*time.Second)):
			close(r.abandon)
		}
		return
	}
}

// noProgress begins the failure that watch reports.
const noProgress = "no progress any more"

// pair is a connection and both of its ends.
type pair struct {
	r       *run
	i       int
	s       *script
	ends    [2]*end
	players sync.WaitGroup // goroutines of plain ends
	stepped atomic.Bool
	met     sync.Once

	mu      sync.Mutex // held for the state of both ends
	cond    *sync.Cond
	waits   string // what the script waits for
	pending int    // steps not yet done on the loop or other goroutines
	failed  bool   // connecting failed
}

func newPair(r *run, i int) *pair {
	p := &pair{r: r, i: i, s: &r.p.pairs[i]}
	p.cond = sync.NewCond(&p.mu)
	for j := range p.ends {
		p.ends[j] = &end{p: p, i: j, plain: j == 1 && p.s.kind != loopToLoop, offset: (int(r.p.setting.high) + 7919*i + 104729*j) % testkit.TextBytes}
		p.ends[j].high, p.ends[j].low = r.p.setting.high, r.p.setting.low
	}
	p.ends[0].peer, p.ends[1].peer = p.ends[1], p.ends[0]
	return p
}

// changed makes every wait of the pair check its condition again.
func (p *pair) changed() {
	p.r.progress.Add(1)
	p.mu.Lock()
	p.cond.Broadcast()
	p.mu.Unlock()
}

// locked runs f, which changes the pair, with mu held.
func (p *pair) locked(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.r.progress.Add(1)
	p.cond.Broadcast()
}

// failLocked records a failure, together with the state of both ends; the caller must hold mu.
func (p *pair) failLocked(format string, args ...any) {
	p.r.fail(fmt.Sprintf("pair %d (%s, %v): %s\n%v\n%v", p.i, p.s.network, p.s.kind, fmt.Sprintf(format, args...), p.ends[0], p.ends[1]))
}

// wait waits until is, which is called with mu held, returns true. It returns false if the run is
// stuck; the watchdog then reports what.
func (p *pair) wait(what string, is func() bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waits = what
	defer func() { p.waits = "" }()
	return p.waitLocked(is)
}

// waitLocked waits until is returns true, or the run is stuck. The caller must hold mu.
func (p *pair) waitLocked(is func() bool) bool {
	for !is() {
		if p.r.stuck.Load() {
			return false
		}
		p.cond.Wait()
	}
	return true
}

// run plays the script.
func (p *pair) run() {
	defer p.met.Do(p.r.meeting.Done)
	defer p.stepped.Store(true)
	steps := p.s.steps
	for len(steps) > 0 && steps[0].from == fromCallback && !p.ends[steps[0].end].plain {
		a := p.ends[steps[0].end]
		a.todo = append(a.todo, steps[0])
		steps = steps[1:]
	}
	p.connect()
	for _, s := range steps {
		p.step(s)
		p.r.steps.Add(1)
	}
	p.met.Do(p.r.meeting.Done)
	p.stepped.Store(true)
	p.finish()
}

// step does one step, or queues it.
func (p *pair) step(s step) {
	a := p.ends[s.end]
	switch {
	case s.op == opMeet:
		p.meet(a)
	case s.op == opWaitArrived:
		a.waitArrived()
	case a.plain:
		a.doPlain(s)
	case !a.awaitOpened():
	case s.op == opAwait:
		a.awaitReceived()
	case s.from == fromScript:
		a.do(s, false)
	case s.from == fromCallback:
		p.locked(func() { a.todo = append(a.todo, s) })
	default:
		a.doElsewhere(s)
	}
}

// meet waits for all pairs, once a has paused.
func (p *pair) meet(a *end) {
	p.wait("Pause", func() bool {
		return a.paused || a.finishedLocked() || a.peer.finishedLocked() || a.seen >= crowdBytes || a.mayStayUnopenedLocked() || a.peer.mayStayUnopenedLocked()
	})
	p.met.Do(p.r.meeting.Done)
	if !p.r.stuck.Load() {
		p.r.meeting.Wait()
	}
}

// address returns the address at which the pair's listener listens. On Linux each pair has a host
// of its own: once Shutdown has closed the listener, another may get its port before the pair dials.
func (p *pair) address() string {
	switch {
	case p.s.network == "unix":
		return filepath.Join(p.r.dir, fmt.Sprint(p.i))
	case runtime.GOOS == "linux":
		pid := os.Getpid()
		return fmt.Sprintf("127.%d.%d.%d:0", 1+(pid>>8)%254, pid%256, 1+p.i%254)
	}
	return "127.0.0.1:0"
}

func (p *pair) connect() {
	a, b := p.ends[0], p.ends[1]
	switch p.s.kind {
	case accepted:
		if address := p.listen(a); address != "" {
			c, err := dialNet(p.r.t, p.s.network, address)
			b.startPlain(c, err)
		}
	case dialed:
		ln, err := listenNet(p.r.t, p.s.network, p.address())
		if err != nil {
			p.connectFailed("listen", err)
			return
		}
		var accepting sync.WaitGroup
		accepting.Go(func() {
			c, err := ln.Accept()
			ln.Close()
			b.startPlain(c, err)
		})
		if !p.dial(a, ln.Addr().String()) {
			ln.Close()
		}
		accepting.Wait()
	case loopToLoop:
		if address := p.listen(a); address != "" {
			p.dial(b, address)
		}
	}
	if sys.OnWine() { // a reset before the connection is accepted is not reported there
		p.wait("Opened", func() bool { return a.opened || a.finishedLocked() })
	}
}

// listen returns an address at which a is accepted, or "".
func (p *pair) listen(a *end) string {
	var ln *loop.Listener
	var err error
	if p.s.network == "tcp" && p.s.small {
		var s *sock.TCPListener
		if s, err = sock.ListenTCP(netip.MustParseAddrPort(p.address()), onNet(p.r.t, sock.WriteBuffer(4<<10), sock.ReadBuffer(16<<10))...); err == nil {
			ln, err = p.r.g.Serve(s, a.accept)
		}
	} else {
		ln, err = p.r.g.Listen(p.s.network, p.address(), a.accept)
	}
	if err != nil {
		p.connectFailed("listen", err)
		return ""
	}
	return ln.Addr().String()
}

func (p *pair) dial(a *end, address string) bool {
	var err error
	if p.s.onLoop {
		done := make(chan error, 1)
		err = p.r.g.Loops()[p.i%p.r.p.setting.loops].Dial(context.Background(), p.s.network, address, a.accept, func(_ *loop.Conn, err error) { done <- err })
		if err == nil {
			err = <-done
		}
	} else {
		_, err = p.r.g.Dial(context.Background(), p.s.network, address, a.accept)
	}
	opened := false
	p.locked(func() { opened = a.opened })
	if err == nil || opened { // it may have ended since
		return true
	}
	p.connectFailed("dial", err)
	return false
}

// connectFailed records a failure to connect, unless the group shuts down or an end may have reset
// the connection immediately. The other end may be open, or be opened later: it is closed then,
// because no script does it.
func (p *pair) connectFailed(what string, err error) {
	p.locked(func() {
		p.failed = true
		if !p.r.shutdownBegun.Load() && !p.r.stuck.Load() && !p.ends[0].mayResetLocked() && !p.ends[1].mayResetLocked() {
			p.failLocked("%s: %v", what, err)
		}
	})
	for _, a := range p.ends {
		open := false
		p.locked(func() { open = a.isOpenLocked() })
		if open {
			a.do(step{op: opClose}, false)
		}
	}
}

// abort ends both ends of a stuck run.
func (p *pair) abort() {
	for _, a := range p.ends {
		var c *loop.Conn
		var plain bool
		p.locked(func() { c, plain = a.conn, a.raw != nil })
		if plain {
			a.hardClose(true)
		} else if c != nil {
			c.Abort()
		}
	}
}
