package fetch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/save"
	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/loop"
)

const (
	// startsPerTurn is how many transfers begin before the loop serves its
	// connections again.
	startsPerTurn = 64
	// grace is how long an ended run waits for bodies whose output blocks, before
	// Shutdown waits for another second.
	grace = time.Second
	// busyPause is the pause of a transfer that found no free descriptor while others have
	// some, or too many lookups or TLS handshakes in progress.
	busyPause = 50 * time.Millisecond
	// linger is how long a server has to close its side, once its answer is complete.
	linger = time.Second
	// receiveBytes is how much of one body is received in a turn of the loop.
	receiveBytes = 256 << 10
)

// An Engine fetches a list of jobs. Its fields are accessed on its loop, and by New and Run
// before that begins.
type Engine struct {
	cfg    Config
	group  *loop.Group // of one loop
	loop   *loop.Loop
	dialer dns.Dialer
	client client
	out    save.Output
	report func(*Result)

	jobs     []*Job
	next     int
	active   map[*transfer]struct{}
	filling  bool
	stopping bool
	over     chan struct{} // closed when nothing is left to do
}

// New returns an Engine, on which Run must be called. It calls report with each Result, on its
// loop: report must not block. The error is that of loop.NewGroup.
func New(cfg Config, names *dns.Resolver, out save.Output, report func(*Result)) (*Engine, error) {
	cfg.Parallel = max(cfg.Parallel, 1)
	var keepAlive net.KeepAliveConfig
	if cfg.Idle > 0 {
		keepAlive.Idle = -1 // none: Config.Idle detects a server that is gone
	}
	group, err := loop.NewGroup(loop.Config{
		Loops: 1, Network: cfg.Network, KeepAlive: keepAlive,
		TurnBudgetBytes: receiveBytes, LingerTimeout: linger,
		// A transfer has one body at a time. A worker may still be ending when the next body
		// comes, which waits in the queue for a moment.
		OffloadWorkers: cfg.Parallel, OffloadQueue: cfg.Parallel,
		SlowCallback: -1, // standard error has a line for each failure, and no others
	})
	if err != nil {
		return nil, err
	}
	return &Engine{
		cfg: cfg, group: group, loop: group.Loops()[0], dialer: dns.Dialer{Resolver: names}, client: newClient(&cfg), out: out, report: report,
		active: make(map[*transfer]struct{}), over: make(chan struct{}),
	}, nil
}

// Run fetches the jobs, and ends the loop. When it returns, each job has its Result, unless
// ctx ended: then Run returns the error of ctx, and transfers in progress have failed. Any
// other error is a failure of the loop.
func (e *Engine) Run(ctx context.Context, jobs []*Job) error {
	e.jobs = jobs
	stop := context.AfterFunc(ctx, func() { e.post(e.stop) })
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- e.group.Wait() }()
	e.post(e.fill)
	var err error
	select {
	case <-e.over:
	case err = <-failed:
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = e.group.Shutdown(ended) // what it cuts off has been reported, or belongs to a run that has been interrupted
	return errors.Join(err, ctx.Err())
}

// post runs f on the loop, in a later turn.
func (e *Engine) post(f func()) {
	if errors.Is(e.loop.Run(f), loop.ErrQueueFull) {
		e.loop.AfterFunc(0, f)
	}
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
		e.end()
	case more && len(e.active) < e.cfg.Parallel:
		e.post(e.fill)
	}
}

// end makes Run return. More calls do nothing.
func (e *Engine) end() {
	select {
	case <-e.over:
	default:
		close(e.over)
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
	e.loop.AfterFunc(grace, e.end)
	e.fill()
}

// store stores a body on a goroutine, and then calls stored on the loop.
func (e *Engine) store(work func() saved, stored func(saved)) error {
	return loop.Offload(e.loop, func() (saved, error) { return work(), nil }, func(s saved, err error) {
		if err != nil { // work has panicked
			s.err = fmt.Errorf("store the body: %w", err)
		}
		stored(s)
	})
}
