package loop

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/ready"
)

// A native driver does a loop's I/O without a Poll. natives, in backend_*.go, lists those of
// this build. They are used only when selected by name.
type native struct {
	name  string
	probe func() error
	note  func() string
	open  func(driver.Config) (driver.Driver, error)
}

// Backends returns the valid values of Config.Backend: the backends of a Poll, best first, and
// then those that only loops can use.
func Backends() []pollux.BackendInfo {
	infos := pollux.Backends()
	for _, n := range natives {
		info := pollux.BackendInfo{Name: n.name}
		if err := n.probe(); err != nil {
			info.Why = err.Error()
		} else {
			info.Usable, info.Why = true, n.note()
		}
		infos = append(infos, info)
	}
	return infos
}

// openDriver opens the driver named by the configuration or the environment.
func openDriver(c *Config) (driver.Driver, error) {
	config := driver.Config{ScratchBytes: min(max(c.ReadBudget, minScratchBytes), maxScratchBytes), BudgetBytes: c.ReadBudget, BusyPoll: c.BusyPoll}
	name, from := c.Backend, "Config.Backend"
	if env := os.Getenv(pollux.BackendEnv); env != "" {
		name, from = env, pollux.BackendEnv
	}
	// Validate Config.Backend even if the environment overrides it: otherwise the mistake would
	// show only where it does not.
	if err := checkBackend(c.Backend, "Config.Backend"); err != nil {
		return nil, err
	}
	if err := checkBackend(name, from); err != nil {
		return nil, err
	}
	for _, n := range natives {
		if n.name != name {
			continue
		}
		d, err := n.open(config)
		if err != nil {
			return nil, fmt.Errorf("%w: %q (from %s): %w", pollux.ErrBackend, name, from, err)
		}
		return d, nil
	}
	var options []pollux.Option
	if c.Backend != "" && c.Backend == name {
		options = append(options, pollux.Backend(name))
	}
	return ready.Open(config, options...)
}

// checkBackend returns an error if this build has no such backend.
func checkBackend(name, from string) error {
	if name == "" {
		return nil
	}
	var names []string
	for _, info := range pollux.Backends() {
		names = append(names, info.Name)
	}
	for _, n := range natives {
		names = append(names, n.name)
	}
	if slices.Contains(names, name) {
		return nil
	}
	return fmt.Errorf("%w: %q (from %s): this build has %s", pollux.ErrBackend, name, from, strings.Join(names, ", "))
}
