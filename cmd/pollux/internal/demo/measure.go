package demo

import (
	"runtime"
	"runtime/pprof"
	"time"
)

// Figures are what a client has measured of itself.
type Figures struct {
	Error    string // why there are no figures
	Backend  string // of the Poll
	Requests int
	Failed   int
	Why      string        // the first failure
	Lowered  bool          // descriptors or ports ran out before AtOnce was what was asked for
	AtOnce   int           // connections open when what follows was measured
	Took     time.Duration // from the first connection to the last answer, without measuring

	Goroutines int
	Threads    int
	Memory     int64 // that Go's runtime has of the system, in bytes
	BytesEach  int64 // memory in use for each connection, in bytes
}

// fail counts a request that failed.
func (f *Figures) fail(err error) {
	if f.Failed++; f.Failed == 1 {
		f.Why = err.Error()
	}
}

// A meter measures this process while it waits for answers.
type meter struct {
	start  time.Time
	before int64         // memory in use without connections
	pause  time.Duration // that measuring took
}

func newMeter() *meter { return &meter{before: inUse(), start: time.Now()} }

// measure fills in the figures of now, with so many connections open.
func (m *meter) measure(f *Figures, open int) {
	began := time.Now()
	f.AtOnce, f.Goroutines = open, runtime.NumGoroutine()
	f.Threads = pprof.Lookup("threadcreate").Count()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	f.Memory = int64(s.Sys - s.HeapReleased)
	f.BytesEach = max(inUse()-m.before, 0) / int64(max(open, 1))
	m.pause += time.Since(began)
}

// took is the time since the start, without that for measuring.
func (m *meter) took() time.Duration { return time.Since(m.start) - m.pause }

// inUse is the memory in use: the heap without garbage, and the stacks.
func inUse() int64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc + s.StackInuse)
}
