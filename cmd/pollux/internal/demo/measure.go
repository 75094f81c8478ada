package demo

import (
	"runtime"
	"runtime/pprof"
	"time"
)

// Figures are the measurements that a client made of itself.
type Figures struct {
	Error      string // if the client failed: then the other fields are not valid
	Backend    string // of the Poll
	Requests   int
	Failed     int
	Why        string        // the first failure
	Lowered    bool          // descriptors or ports ran out before the requested number was open
	Concurrent int           // connections that were open when the fields below were measured
	Took       time.Duration // from the first connection to the last answer, without measuring

	Goroutines int
	Threads    int
	Memory     int64 // that Go's runtime has obtained from the system, in bytes
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
	pause  time.Duration // time that measuring took
}

func newMeter() *meter { return &meter{before: inUse(), start: time.Now()} }

// measure stores the current figures in f; open is the number of open connections.
func (m *meter) measure(f *Figures, open int) {
	began := time.Now()
	f.Concurrent, f.Goroutines = open, runtime.NumGoroutine()
	f.Threads = pprof.Lookup("threadcreate").Count()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	f.Memory = int64(s.Sys - s.HeapReleased)
	f.BytesEach = max(inUse()-m.before, 0) / int64(max(open, 1))
	m.pause += time.Since(began)
}

// took returns the time since the start, without the time for measuring.
func (m *meter) took() time.Duration { return time.Since(m.start) - m.pause }

// inUse returns the memory in use: the heap without garbage, and the stacks.
func inUse() int64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc + s.StackInuse)
}
