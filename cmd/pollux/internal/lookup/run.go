package lookup

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/loop"
)

// MaxParallel is the maximum of Runner.Parallel: a lookup of both families has two queries, and a loop of package
// dns has 10,000 at most.
const MaxParallel = 4096

// firstParallel is how many lookups begin at once. Each answer allows one more, up to Runner.Parallel: a burst of thousands
// of queries would overflow the receive buffer of the server, or that of the socket that gets the responses.
const firstParallel = 64

// A Result is how a job has ended.
type Result struct {
	Job
	Answer dns.Answer
	Err    error
	Took   time.Duration
	Plan   dns.Plan // when the lookup began; of a Runner with Explain
}

// A Runner looks up the names of a list.
type Runner struct {
	Resolver *dns.Resolver
	Loops    []*loop.Loop // which have the lookups, in turn
	Parallel int          // maximum number of lookups at the same time: from 1 to MaxParallel
	Explain  bool         // results have a Plan
}

// Run looks up all names of the list. It calls report with each result, on this goroutine, in the order in which
// the lookups end; more reports whether another result is there already. While report waits, no more than
// Parallel lookups end, and no new one begins.
//
// Run returns the number of lookups that it has begun, and the error of report, of the list, or of ctx; lookups
// then are left in progress, until the Resolver is closed.
func (r *Runner) Run(ctx context.Context, list *List, report func(result *Result, more bool) error) (begun int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	jobs := list.jobs(ctx)
	results := make(chan *Result, r.Parallel) // all that are in progress, so no loop ever waits
	inFlight, allowed := 0, min(firstParallel, r.Parallel)
	for {
		next := jobs
		if inFlight == allowed {
			next = nil
		}
		if next == nil && inFlight == 0 { // the list has ended
			return begun, list.err
		}
		select {
		case j, ok := <-next:
			if !ok {
				jobs = nil
				continue
			}
			r.start(j, r.Loops[begun%len(r.Loops)], results)
			begun++
			inFlight++
		case result := <-results:
			inFlight--
			if !errors.Is(result.Err, os.ErrDeadlineExceeded) {
				allowed = min(allowed+1, r.Parallel)
			}
			if err := report(result, len(results) > 0); err != nil {
				return begun, err
			}
		case <-ctx.Done():
			return begun, reportEnded(ctx, results, report)
		}
	}
}

// reportEnded reports the lookups that had ended when ctx did.
func reportEnded(ctx context.Context, results <-chan *Result, report func(*Result, bool) error) error {
	for {
		select {
		case result := <-results:
			if err := report(result, len(results) > 0); err != nil {
				return err
			}
		default:
			return ctx.Err()
		}
	}
}

// start begins a lookup, whose result is sent to results, which must not block.
func (r *Runner) start(j Job, l *loop.Loop, results chan<- *Result) {
	if j.err != nil {
		results <- &Result{Job: j, Err: j.err}
		return
	}
	result := &Result{Job: j}
	if r.Explain {
		result.Plan = r.Resolver.Explain(j.Query, dns.Type(j.Kind))
	}
	began := time.Now()
	done := func(a dns.Answer, err error) {
		result.Answer, result.Err, result.Took = a, err, time.Since(began)
		results <- result
	}
	if j.Kind == Addresses {
		r.Resolver.LookupFunc(l, j.Query, done)
	} else {
		r.Resolver.LookupTypeFunc(l, j.Query, dns.Type(j.Kind), done)
	}
}
