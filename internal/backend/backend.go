// Package backend chooses which of several backends is used: the one that is requested by name,
// or the best that this machine can use. Package queue chooses the backend of a Poll with it,
// package loop the backend of a loop. It does not know what a backend does.
package backend

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
)

// Env is the environment variable that requests a backend. It overrides options.
const Env = "POLLUX_BACKEND"

// ErrUnavailable means that the requested backend does not exist or is not usable on this
// machine. It is public, in the root package.
var ErrUnavailable = errors.New("backend is not available")

// A Candidate is a backend of this build.
type Candidate struct {
	Name string
	// Probe returns an error if this machine cannot use the backend.
	Probe func() error
	// Note describes a usable backend, for people.
	Note func() string
	// OnRequest means that the backend is used only if it is requested by name.
	OnRequest bool

	mu     sync.Mutex
	probed bool
	err    error // of Probe
}

// probe returns the result of Probe. It is cached, unless it is a transient error.
func (c *Candidate) probe() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.probed {
		c.err = c.Probe()
		c.probed = !transient(c.err)
	}
	return c.err
}

// transient reports whether the next attempt may succeed. io_uring_enter(2) returns EAGAIN if the
// kernel is out of memory or other resources for the moment.
func transient(err error) bool { return sys.IsResourceError(err) || errors.Is(err, syscall.EAGAIN) }

// Info is the result of probing a candidate.
type Info struct {
	Name string
	// Usable reports whether the probe succeeded.
	Usable bool
	// Default reports whether the backend is used if none is requested.
	Default bool
	// Why is the note of a usable backend, or the error of its probe.
	Why string
}

// A Set has the candidates of one kind of user.
type Set struct {
	// Candidates are the backends, best first.
	Candidates []*Candidate
	// User is what uses a backend, in errors: "a Poll".
	User string
	// Advice follows the error of an unknown name.
	Advice string
}

// Probe probes all candidates. There is no default if a transient error has kept a better
// backend from being used.
func (s *Set) Probe() []Info {
	infos := make([]Info, 0, len(s.Candidates))
	decided := false
	for _, c := range s.Candidates {
		info := Info{Name: c.Name}
		err := c.probe()
		if err != nil {
			info.Why = err.Error()
		} else {
			info.Usable, info.Why = true, c.Note()
		}
		if !c.OnRequest && (err == nil || transient(err)) {
			info.Default = info.Usable && !decided
			decided = true
		}
		infos = append(infos, info)
	}
	return infos
}

// Choice is a chosen candidate.
type Choice struct {
	Index int    // in Set.Candidates
	Name  string // of the candidate
	from  string // where the name comes from; empty if none was requested
}

// Choose returns the candidate that Env or else name requests; if both are empty, the best
// usable one. option is what the caller's user has set name by. A name that is unknown is an
// error even if Env overrides it: otherwise the mistake would show only where Env is not set.
func (s *Set) Choose(name, option string) (Choice, error) {
	if name != "" {
		if _, err := s.find(name, option); err != nil {
			return Choice{}, err
		}
	}
	if env := os.Getenv(Env); env != "" {
		name, option = env, Env
	}
	if name == "" {
		return s.best()
	}
	c, err := s.find(name, option)
	if err != nil {
		return Choice{}, err
	}
	if err := s.Candidates[c.Index].probe(); err != nil {
		return Choice{}, c.Failed(err)
	}
	return c, nil
}

// Failed returns the error of a backend whose probe or use has failed with err. A transient
// error does not make it unavailable.
func (c Choice) Failed(err error) error {
	if c.from == "" || transient(err) {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	return fmt.Errorf("%w: %q (from %s): %w", ErrUnavailable, c.Name, c.from, err)
}

func (s *Set) find(name, from string) (Choice, error) {
	var names []string
	for i, c := range s.Candidates {
		if c.Name == name {
			return Choice{Index: i, Name: name, from: from}, nil
		}
		names = append(names, c.Name)
	}
	return Choice{}, fmt.Errorf("%w: %q (from %s): %s in this build can use %s%s", ErrUnavailable, name, from, s.User, strings.Join(names, ", "), s.Advice)
}

// best returns the first usable candidate. It returns an error if no candidate is usable, or if a
// transient error has kept a better one from being used.
func (s *Set) best() (Choice, error) {
	var reasons strings.Builder
	for i, candidate := range s.Candidates {
		if candidate.OnRequest {
			continue
		}
		c := Choice{Index: i, Name: candidate.Name}
		err := candidate.probe()
		switch {
		case err == nil:
			return c, nil
		case transient(err):
			return Choice{}, c.Failed(err)
		}
		fmt.Fprintf(&reasons, "; %s: %v", c.Name, err)
	}
	return Choice{}, fmt.Errorf("%w: no backend of this build is usable on this machine%s", ErrUnavailable, reasons.String())
}
