package pollux

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// BackendEnv is the environment variable that forces a backend.
const BackendEnv = "POLLUX_BACKEND"

// A backend is one way to learn readiness. backends, in backend_*.go, lists
// those that this system's build has, best first.
type backend struct {
	name string
	open func(selector.Config) (selector.Selector, error)
	note string // what it is made of, for BackendInfo
}

// BackendInfo says what this build and machine offer.
type BackendInfo struct {
	// Name is what Backend and POLLUX_BACKEND take.
	Name string
	// Usable says whether a probe could open it.
	Usable bool
	// Default says whether New takes it when none is asked for.
	Default bool
	// Why says why it is usable or is not.
	Why string
}

// Backends probes the backends of this build and returns them, best first. What it found
// is remembered, unless descriptors or memory were wanting.
func Backends() []BackendInfo {
	var infos []BackendInfo
	for _, v := range probe() {
		infos = append(infos, v.BackendInfo)
	}
	return infos
}

// verdict is what the probe of a backend has found.
type verdict struct {
	BackendInfo
	err error
}

// passes says that there may be another verdict the next time.
func (v verdict) passes() bool { return sys.IsWant(v.err) }

var probed struct {
	sync.Mutex
	verdicts []verdict
}

func probe() []verdict {
	probed.Lock()
	defer probed.Unlock()
	if probed.verdicts != nil {
		return probed.verdicts
	}
	verdicts := tryAll()
	if !slices.ContainsFunc(verdicts, verdict.passes) {
		probed.verdicts = verdicts
	}
	return verdicts
}

// tryAll opens each backend. The default is the first that is usable: none, if a better
// one is for want of something only.
func tryAll() []verdict {
	verdicts := make([]verdict, 0, len(backends))
	chosen := false
	for _, b := range backends {
		v := verdict{BackendInfo: BackendInfo{Name: b.name, Why: b.note}}
		s, err := b.open(selector.Config{})
		if err != nil {
			v.Why, v.err = err.Error(), err
			chosen = chosen || v.passes()
		} else {
			s.Close()
			v.Usable, v.Default = true, !chosen
			chosen = true
		}
		verdicts = append(verdicts, v)
	}
	return verdicts
}

// choose returns the backend asked for, by name or by the environment, or else the
// best usable one. A name that does not exist is refused also where the environment
// wins: the mistake would show elsewhere only.
func choose(name string) (backend, error) {
	from := "Backend option"
	if env := os.Getenv(BackendEnv); env != "" {
		if _, err := find(name, from); name != "" && err != nil {
			return backend{}, err
		}
		name, from = env, BackendEnv
	}
	if name != "" {
		i, err := find(name, from)
		if err != nil {
			return backend{}, err
		}
		switch v := probe()[i]; {
		case v.passes():
			return backend{}, fmt.Errorf("%s: %w", name, v.err)
		case v.err != nil:
			return backend{}, fmt.Errorf("%w: %q (from %s): %w", ErrBackend, name, from, v.err)
		}
		return backends[i], nil
	}
	verdicts := probe()
	for i, v := range verdicts {
		switch {
		case v.Default:
			return backends[i], nil
		case v.passes():
			return backend{}, fmt.Errorf("%s: %w", v.Name, v.err)
		}
	}
	return backend{}, fmt.Errorf("%w: none of this build is usable here%s", ErrBackend, whyNot(verdicts))
}

// find returns where in backends name is.
func find(name, from string) (int, error) {
	var names []string
	for i, b := range backends {
		if b.name == name {
			return i, nil
		}
		names = append(names, b.name)
	}
	return 0, fmt.Errorf("%w: %q (from %s): for a Poll this build has %s; others are for the loops of package loop only (loop.Backends)", ErrBackend, name, from, strings.Join(names, ", "))
}

func whyNot(verdicts []verdict) string {
	var b strings.Builder
	for _, v := range verdicts {
		fmt.Fprintf(&b, "; %s: %s", v.Name, v.Why)
	}
	return b.String()
}
