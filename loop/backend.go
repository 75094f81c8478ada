package loop

import (
	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/backend"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/ready"
	"github.com/pollux-io/pollux/internal/queue"
)

// A native driver does a loop's I/O without a Poll. natives, in backend_*.go, lists those of
// this build.
type native struct {
	backend.Candidate
	open func(driver.Config) (driver.Driver, error)
}

func newNative(name string, probe func() error, note func() string, open func(driver.Config) (driver.Driver, error)) *native {
	n := &native{open: open}
	n.Name, n.Probe, n.Note, n.OnRequest = name, probe, note, true
	return n
}

// backendSet returns the backends of a loop: those of a Poll, and then the native drivers.
func backendSet() *backend.Set {
	s := &backend.Set{User: "a loop"}
	for _, b := range queue.Backends() {
		s.Candidates = append(s.Candidates, &b.Candidate)
	}
	for _, n := range natives {
		s.Candidates = append(s.Candidates, &n.Candidate)
	}
	return s
}

// Backends returns the valid values of Config.Backend: the backends of a Poll, best first, and
// then those that only loops can use.
func Backends() []pollux.BackendInfo {
	var infos []pollux.BackendInfo
	for _, info := range backendSet().Probe() {
		infos = append(infos, pollux.BackendInfo(info))
	}
	return infos
}

// openDriver opens the driver of the simulated host, unless that is nil, or the one named by the
// configuration or the environment.
func openDriver(c *Config, sim driver.Simulation) (driver.Driver, error) {
	config := driver.Config{
		ScratchBytes: min(max(c.TurnBudgetBytes, minScratchBytes), maxScratchBytes),
		BudgetBytes:  c.TurnBudgetBytes,
		BusyPoll:     c.BusyPoll,
	}
	if sim != nil {
		return sim.OpenDriver(config)
	}
	choice, err := backendSet().Choose(c.Backend, "Config.Backend")
	if err != nil {
		return nil, err
	}
	d, err := openBackend(choice.Index, config)
	if err != nil {
		return nil, choice.Failed(err)
	}
	return d, nil
}

// openBackend opens the driver of a candidate of backendSet.
func openBackend(index int, c driver.Config) (driver.Driver, error) {
	polls := queue.Backends()
	if index < len(polls) {
		return ready.Open(polls[index], c)
	}
	return natives[index-len(polls)].open(c)
}
