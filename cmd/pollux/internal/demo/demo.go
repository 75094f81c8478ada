// Package demo shows what one goroutine with one Poll can do: wait for many slow
// answers at once.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/limits"
	"github.com/pollux-io/pollux/cmd/pollux/internal/report"
	"github.com/pollux-io/pollux/cmd/pollux/internal/wire"
)

const (
	opensPerTurn = 64
	// grace is how much longer than it was asked to wait the server may take.
	grace = 30 * time.Second
	// descriptorsEach: the server's end is in this process too.
	descriptorsEach = 2
)

// A Config says what to show.
type Config struct {
	Requests int
	Delay    time.Duration // the longest
	Parallel int           // connections open at once
}

// A run is all of it; but for the server, everything happens on the goroutine that
// is in loop.Run.
type run struct {
	Config
	loop   *wire.Loop
	out    io.Writer
	server netip.AddrPort

	delays  []time.Duration
	next    int
	open    int
	ended   int
	failed  int
	lowered bool // Parallel, because descriptors ran out
	err     error
}

// Run shows it on out. The error says what went wrong with the whole, or how many
// requests failed.
func Run(ctx context.Context, c Config, out io.Writer) error {
	server, err := startServer()
	if err != nil {
		return fmt.Errorf("start a server on the loopback address: %w", err)
	}
	defer server.Close()
	loop, err := wire.New()
	if err != nil {
		return err
	}
	defer loop.Close()

	r := &run{Config: c, loop: loop, out: out, delays: spread(c.Requests, c.Delay)}
	r.server, err = netip.ParseAddrPort(server.ln.Addr().String())
	if err != nil {
		return err
	}
	if fit := limits.Fit(c.Parallel, descriptorsEach); fit < c.Parallel && fit < c.Requests {
		r.Parallel = fit
		fmt.Fprintf(out, "The limit on descriptors (ulimit -n) allows %d connections at once.\n", fit)
	}
	stop := context.AfterFunc(ctx, func() { loop.Post(func() { r.err = ctx.Err(); loop.Stop() }) })
	defer stop()
	return r.run()
}

func (r *run) run() error {
	r.printf("%d requests to a slow server at http://%v, by one goroutine with one Poll on %s.\n\n",
		r.Requests, r.server, r.loop.Backend())
	r.printf("%7s  %10s  %10s  %7s\n", "token", "asked for", "took", "bytes")
	start := time.Now()
	r.loop.Post(r.fill)
	if err := r.loop.Run(); err != nil {
		return err
	}
	if r.err != nil {
		return r.err
	}
	took := time.Since(start)
	var sum time.Duration
	for _, d := range r.delays {
		sum += d
	}
	if r.failed > 0 {
		return fmt.Errorf("%d of %d requests failed", r.failed, r.Requests)
	}
	if sum > 0 { // or there is nothing to compare
		r.printf("\nOne after another: %v at least. Together: %v, %.1f times as fast.\n",
			report.Round(sum), report.Round(took), float64(sum)/float64(took))
	}
	return r.err
}

// printf stops the run when nobody can read it any more.
func (r *run) printf(format string, a ...any) {
	if _, err := fmt.Fprintf(r.out, format, a...); err != nil && r.err == nil {
		r.err = err
		r.loop.Stop()
	}
}

// fill opens connections up to the cap.
func (r *run) fill() {
	for range opensPerTurn {
		if r.next == r.Requests || r.open >= r.Parallel {
			return
		}
		i := r.next
		r.next++
		if r.begin(i) {
			continue
		}
		r.next = i
		return
	}
	if r.next < r.Requests && r.open < r.Parallel {
		r.loop.Post(r.fill)
	}
}

// begin opens a connection for request i. It returns false if that has to wait
// until another is closed.
func (r *run) begin(i int) bool {
	q := &request{run: r, delay: r.delays[i], start: time.Now()}
	text := fmt.Sprintf("GET /%v HTTP/1.1\r\nHost: %v\r\nConnection: close\r\n\r\n", q.delay, r.server)
	call, err := r.loop.Call(r.server, []byte(text), q)
	switch {
	case err == nil:
		q.call = call
		q.limit.F = func() { q.end(errors.New("no answer in time")) }
		r.loop.Arm(&q.limit, q.delay+grace)
		r.open++
	case limits.Exhausted(err) && r.open > 0:
		r.Parallel = r.open
		if !r.lowered {
			r.lowered = true
			r.printf("Descriptors ran out: going on with %d connections at once; to have more, %s.\n", r.open, limits.More)
		}
		return false
	case limits.Exhausted(err):
		r.done(fmt.Errorf("%w; %s", err, limits.Advice), q)
	default:
		r.done(err, q)
	}
	return true
}

// done counts a request that has ended.
func (r *run) done(err error, q *request) {
	if err != nil {
		r.failed++
		r.printf("%7d  %10v  %10v  failed: %v\n", q.token(), q.delay, report.Round(time.Since(q.start)), err)
	} else {
		r.printf("%7d  %10v  %10v  %7d\n", q.token(), q.delay, report.Round(time.Since(q.start)), len(q.got))
	}
	if r.ended++; r.ended == r.Requests {
		r.loop.Stop()
	}
}
