package loop

import (
	"net"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
)

// ServeAcceptor is Serve for any listening socket, such as one that fails. It is not a method: none of
// Group mentions an internal package.
func ServeAcceptor(g *Group, addr net.Addr, a driver.Acceptor, accept func(*Conn) Handler) (*Listener, error) {
	return g.serve(addr, []driver.Acceptor{a}, false, accept)
}

// ServeAcceptorOn is ServeAcceptor on one given loop.
func ServeAcceptorOn(l *Loop, s driver.Acceptor, accept func(*Conn) Handler) error {
	g := l.g
	ln := &Listener{g: g, accept: accept, addr: &net.TCPAddr{}}
	a := ln.newAcceptor(l, s)
	ln.acceptors = append(ln.acceptors, a)
	if err := g.register(false, func() { g.listeners = append(g.listeners, ln) }); err != nil {
		return err
	}
	h := g.newHandOver(1, ln.addr)
	h.start(l, a.begin, func() {})
	return h.wait()
}

// WrapHandlers has the handlers that accept functions return changed by f; nil: not any more.
func WrapHandlers(f func(Handler) Handler) { wrapHandler = f }

// skipIfWrapped skips a test whose loop does not run: it would never start the layer.
func skipIfWrapped(tb testing.TB) {
	if wrapHandler != nil {
		tb.Skip("with a layer: the loop of this test does not run")
	}
}

// WatchdogSleeps reports whether the watchdog sleeps.
func (g *Group) WatchdogSleeps() bool { return g.watchdog.Asleep() }

// FailingDriver is a driver whose turns, or Attach, can be made to fail.
type FailingDriver struct {
	driver.Driver
	failure atomic.Pointer[error]
	refusal atomic.Pointer[error]
}

// Refuse makes Attach fail from now on.
func (d *FailingDriver) Refuse(err error) { d.refusal.Store(&err) }

// Attach implements driver.Driver.
func (d *FailingDriver) Attach(s *driver.Stream) error {
	if refusal := d.refusal.Load(); refusal != nil {
		return *refusal
	}
	return d.Driver.Attach(s)
}

// Fail makes the next turn fail, and all later ones.
func (d *FailingDriver) Fail(err error) {
	d.failure.Store(&err)
	d.Wake()
}

// Turn implements driver.Driver.
func (d *FailingDriver) Turn(timeout time.Duration) error {
	err := d.Driver.Turn(timeout)
	if failure := d.failure.Load(); failure != nil {
		return *failure
	}
	return err
}

// UseFailingDrivers makes the groups of a test wrap their drivers in FailingDrivers. The
// returned function returns those opened so far.
func UseFailingDrivers(t *testing.T) func() []*FailingDriver {
	const name = "failing"
	var drivers []*FailingDriver
	was := os.Getenv(pollux.BackendEnv)
	t.Setenv(pollux.BackendEnv, name)
	before := natives
	t.Cleanup(func() { natives = before })
	natives = append(slices.Clone(natives), newNative(
		name,
		func() error { return nil },
		func() string { return "for tests" },
		func(c driver.Config) (driver.Driver, error) {
			os.Setenv(pollux.BackendEnv, was)
			defer os.Setenv(pollux.BackendEnv, name)
			d, err := openDriver(&Config{TurnBudgetBytes: c.BudgetBytes, BusyPoll: c.BusyPoll}, nil)
			if err != nil {
				return nil, err
			}
			drivers = append(drivers, &FailingDriver{Driver: d})
			return drivers[len(drivers)-1], nil
		},
	))
	return func() []*FailingDriver { return drivers }
}

// SlowCallbacks returns how many slow callbacks the watchdog has found.
func (l *Loop) SlowCallbacks() uint64 { return l.slow.Load() }

// OffloadBusy reports whether work of Offload is running or queued.
func (g *Group) OffloadBusy() bool {
	running, queued := g.offload.Stats()
	return running+queued > 0
}

// SetPatience sets handOverTimeout.
func (g *Group) SetPatience(d time.Duration) { g.handOverTimeout = d }

// SetStatsTimeout sets statsTimeout.
func (g *Group) SetStatsTimeout(d time.Duration) { g.statsTimeout = d }

// Listeners returns how many listeners the group has.
func (g *Group) Listeners() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.listeners)
}

// BindStreams makes the loop take its driver for one that cannot serve the sockets of package net, as
// overlapped on Windows. Call it before connections are attached.
func (l *Loop) BindStreams() { l.binds = true }
