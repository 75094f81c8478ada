package fetch

import (
	"context"
	"errors"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/resolve"
	"github.com/pollux-io/pollux/cmd/pollux/internal/save"
	"github.com/pollux-io/pollux/cmd/pollux/internal/wire"
)

const (
	// startsPerTurn is how many transfers begin before the loop serves its
	// sockets again.
	startsPerTurn = 64
	// grace is how long an ended run waits for bodies whose output blocks.
	grace = 2 * time.Second
	// exhaustedPause is the pause of a transfer that found no free descriptor while others
	// have some.
	exhaustedPause = 50 * time.Millisecond
)

// An Engine fetches a list of jobs. Its fields and methods except Run belong to the loop.
type Engine struct {
	cfg    Config
	loop   *wire.Loop
	names  *resolve.Resolver
	out    save.Output
	report func(*Result)

	jobs     []*Job
	next     int
	active   map[*transfer]struct{}
	filling  bool
	stopping bool
	lastCall wire.Timer
}

// New returns an Engine over a loop and a resolver that posts to it. It calls report with
// each Result, on the loop: report must not block.
func New(cfg Config, loop *wire.Loop, names *resolve.Resolver, out save.Output, report func(*Result)) *Engine {
	cfg.Parallel = max(cfg.Parallel, 1)
	return &Engine{
		cfg: cfg, loop: loop, names: names, out: out, report: report,
		active: make(map[*transfer]struct{}),
	}
}

// Run fetches the jobs. When it returns, each has its Result, unless ctx ended: then Run
// returns the error of ctx, and transfers in progress have failed. Any other error is a
// failure of the Poll.
func (e *Engine) Run(ctx context.Context, jobs []*Job) error {
	e.jobs = jobs
	if len(jobs) == 0 {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { e.loop.Post(e.stop) })
	defer stop()
	e.loop.Post(e.fill)
	err := e.loop.Run()
	return errors.Join(err, ctx.Err())
}

// fill starts transfers, up to Config.Parallel.
func (e *Engine) fill() {
	if e.filling {
		return // called by a transfer that ended as soon as it was started
	}
	e.filling = true
	for range startsPerTurn {
		if e.stopping || len(e.active) >= e.cfg.Parallel || e.next == len(e.jobs) {
			break
		}
		t := newTransfer(e, e.jobs[e.next])
		e.next++
		e.active[t] = struct{}{}
		t.start()
	}
	e.filling = false
	more := !e.stopping && e.next < len(e.jobs)
	switch {
	case len(e.active) == 0 && !more:
		e.loop.Stop()
	case more && len(e.active) < e.cfg.Parallel:
		e.loop.Post(e.fill)
	}
}

// ended removes a transfer and reports its result.
func (e *Engine) ended(t *transfer, r *Result) {
	delete(e.active, t)
	e.report(r)
	e.fill()
}

// stop ends every transfer. Transfers that are storing a body get the time grace to
// remove incomplete files.
func (e *Engine) stop() {
	if e.stopping {
		return
	}
	e.stopping = true
	for t := range e.active {
		t.fail(errStopped)
	}
	e.lastCall.F = e.loop.Stop
	e.loop.Arm(&e.lastCall, grace)
	e.fill()
}
