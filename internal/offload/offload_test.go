package offload

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// The tests run in synctest bubbles: synctest.Wait returns when every worker has ended or blocks
// in a job, and a worker that never ends fails the test.

// record collects what jobs do.
type record struct {
	mu       sync.Mutex
	started  []string
	finished []outcome
}

type outcome struct {
	name      string
	returned  bool
	recovered any
}

// job is a Job with a name, whose parts are functions; nil ones do nothing.
type job struct {
	*record
	name    string
	run     func()
	reserve func() error
}

func (j *job) Reserve() error {
	if j.reserve == nil {
		return nil
	}
	return j.reserve()
}

func (j *job) Run() {
	j.mu.Lock()
	j.started = append(j.started, j.name)
	j.mu.Unlock()
	if j.run != nil {
		j.run()
	}
}

func (j *job) Finish(returned bool, recovered any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.finished = append(j.finished, outcome{j.name, returned, recovered})
}

func submit(t *testing.T, p *Pool, j *job) {
	t.Helper()
	if err := p.Submit(j); err != nil {
		t.Fatalf("Submit(%s): %v", j.name, err)
	}
}

func checkStats(t *testing.T, p *Pool, running, queued int) {
	t.Helper()
	synctest.Wait()
	if r, q := p.Stats(); r != running || q != queued {
		t.Errorf("Stats() = %d running, %d queued, want %d, %d", r, q, running, queued)
	}
}

// At most maxWorkers jobs run, at most maxQueued wait, and those run in the order of Submit. The
// workers end when there is nothing to do.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r, release := New(2, 3), &record{}, make(chan bool)
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			submit(t, p, &job{record: r, name: name, run: func() { <-release }})
			synctest.Wait() // so that a starts before b
		}
		checkStats(t, p, 2, 3)
		refused := &job{record: r, name: "f", reserve: func() error { t.Error("Reserve was called without capacity"); return nil }}
		if err := p.Submit(refused); !errors.Is(err, ErrFull) {
			t.Errorf("Submit with a full queue: got %v, want ErrFull", err)
		}
		release <- true
		checkStats(t, p, 2, 2)
		submit(t, p, &job{record: r, name: "g"})
		for range 4 {
			release <- true
			synctest.Wait()
		}
		checkStats(t, p, 0, 0)
		if want := []string{"a", "b", "c", "d", "e", "g"}; !slices.Equal(r.started, want) {
			t.Errorf("the jobs were started in the order %v, want %v", r.started, want)
		}
		for _, o := range r.finished {
			if !o.returned || o.recovered != nil {
				t.Errorf("Finish of %s got returned = %t, recovered = %v, want true, nil", o.name, o.returned, o.recovered)
			}
		}
		submit(t, p, &job{record: r, name: "h"}) // starts a worker again
		p.Stop()
		if n := len(r.finished); n != 7 {
			t.Errorf("%d jobs have finished, want 7", n)
		}
	})
}

// A job that fails to reserve does not run, whether a worker is idle or not.
func TestReserveFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r, release := New(1, 1), &record{}, make(chan bool)
		failure := errors.New("no")
		fails := &job{record: r, name: "fails", reserve: func() error { return failure }}
		if err := p.Submit(fails); err != failure {
			t.Errorf("Submit to an idle pool: got %v, want the error of Reserve", err)
		}
		submit(t, p, &job{record: r, name: "blocks", run: func() { <-release }})
		if err := p.Submit(fails); err != failure {
			t.Errorf("Submit to a busy pool: got %v, want the error of Reserve", err)
		}
		checkStats(t, p, 1, 0)
		close(release)
		p.Stop()
		if want := []string{"blocks"}; !slices.Equal(r.started, want) {
			t.Errorf("%v ran, want %v", r.started, want)
		}
	})
}

// A job that panics or ends its goroutine finishes with that, and takes no worker from the jobs
// that are queued.
func TestPanicAndGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r, release := New(1, 8), &record{}, make(chan bool)
		submit(t, p, &job{record: r, name: "blocks", run: func() { <-release }})
		submit(t, p, &job{record: r, name: "panics", run: func() { panic("boom") }})
		submit(t, p, &job{record: r, name: "exits", run: runtime.Goexit})
		submit(t, p, &job{record: r, name: "exits again", run: runtime.Goexit})
		submit(t, p, &job{record: r, name: "returns"})
		submit(t, p, &job{record: r, name: "exits last", run: runtime.Goexit})
		close(release)
		checkStats(t, p, 0, 0)
		want := []outcome{
			{"blocks", true, nil},
			{"panics", false, "boom"},
			{"exits", false, nil},
			{"exits again", false, nil},
			{"returns", true, nil},
			{"exits last", false, nil},
		}
		if !slices.Equal(r.finished, want) {
			t.Errorf("Finish was called as %v, want %v", r.finished, want)
		}
		p.Stop()
	})
}

// Stop waits for the jobs that run and those that are queued, and refuses others meanwhile.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r, release := New(1, 8), &record{}, make(chan bool)
		submit(t, p, &job{record: r, name: "runs", run: func() { <-release }})
		submit(t, p, &job{record: r, name: "queued", run: func() { <-release }})
		stopped := false
		go func() { p.Stop(); stopped = true }()
		for range 2 {
			synctest.Wait()
			if stopped {
				t.Fatal("Stop returned before every job had finished")
			}
			if err := p.Submit(&job{record: r, name: "late"}); !errors.Is(err, ErrStopped) {
				t.Errorf("Submit after Stop: got %v, want ErrStopped", err)
			}
			release <- true
		}
		synctest.Wait()
		if !stopped {
			t.Error("Stop has not returned although every job has finished")
		}
		p.Stop() // may be called again
	})
}
