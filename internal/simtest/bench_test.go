package simtest

import (
	"testing"
	"time"
)

// inTest calls f with a testing.T, which a bubble needs and a benchmark does not have.
func inTest(b *testing.B, f func(t *testing.T)) {
	all := func(_, _ string) (bool, error) { return true, nil }
	if !testing.RunTests(all, []testing.InternalTest{{Name: b.Name(), F: f}}) {
		b.Error("the simulation has failed")
	}
}

// perSecond reports operations for each second of processor time since the process had used so much.
func perSecond(b *testing.B, operations int64, since time.Duration) {
	b.ReportMetric(float64(operations)/(cpuTime()-since).Seconds(), "operations/cpu-s")
}

// BenchmarkPrograms runs random programs, with all checks of the model.
func BenchmarkPrograms(b *testing.B) {
	used, operations := cpuTime(), int64(0)
	inTest(b, func(t *testing.T) {
		for seed := range uint64(b.N) {
			o := run(t, draw(seed))
			if operations += o.operations; len(o.failures) > 0 {
				t.Errorf("seed %d has failed", seed)
			}
		}
	})
	perSecond(b, operations, used)
}

// heartbeatOperations are those of one heartbeat: at the client the timer's function, Write and Reset,
// and Data with the answer; at the server Data and Write.
const heartbeatOperations = 6

// BenchmarkHeartbeats runs an hour of TestDay.
func BenchmarkHeartbeats(b *testing.B) {
	used, operations := cpuTime(), int64(0)
	for range b.N {
		inTest(b, func(t *testing.T) { operations += heartbeatOperations * int64(simulateDay(t, time.Hour)) })
	}
	perSecond(b, operations, used)
}
