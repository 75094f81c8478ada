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

// A backend is one kernel interface that reports readiness. backends, in
// backend_*.go, lists those in this system's build, best first.
type backend struct {
	name string
	open func(selector.Config) (selector.Selector, error)
	note string // the kernel interface in words, for BackendInfo.Why
}

// BackendInfo describes one backend of this build and whether this machine can use it.
type BackendInfo struct {
	// Name is the name that Backend and POLLUX_BACKEND accept.
	Name string
	// Usable reports whether a probe could open the backend.
	Usable bool
	// Default reports whether New uses the backend when no name is given.
	Default bool
	// Why describes a usable backend, or gives the reason why it is not usable.
	Why string
}

// Backends probes the backends of this build and returns them, best first. The result is
// cached, unless a probe failed because the process was out of descriptors or memory.
func Backends() []BackendInfo {
	var infos []BackendInfo
	for _, v := range probe() {
		infos = append(infos, v.BackendInfo)
	}
	return infos
}

// verdict is the result of probing a backend.
type verdict struct {
	BackendInfo
	err error
}

// transient reports whether the next probe may give another result.
func (v verdict) transient() bool { return sys.IsResourceError(v.err) }

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
	verdicts := probeAll()
	if !slices.ContainsFunc(verdicts, verdict.transient) {
		probed.verdicts = verdicts
	}
	return verdicts
}

// probeAll opens each backend. The default is the first usable one. There is no default if
// a better backend failed with a transient error.
func probeAll() []verdict {
	verdicts := make([]verdict, 0, len(backends))
	chosen := false
	for _, b := range backends {
		v := verdict{BackendInfo: BackendInfo{Name: b.name, Why: b.note}}
		s, err := b.open(selector.Config{})
		if err != nil {
			v.Why, v.err = err.Error(), err
			chosen = chosen || v.transient()
		} else {
			s.Close()
			v.Usable, v.Default = true, !chosen
			chosen = true
		}
		verdicts = append(verdicts, v)
	}
	return verdicts
}

// choose returns the backend selected by the environment or by name, or else the best
// usable one. An unknown name is an error even if the environment overrides it:
// otherwise the mistake would show only where the variable is not set.
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
		case v.transient():
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
		case v.transient():
			return backend{}, fmt.Errorf("%s: %w", v.Name, v.err)
		}
	}
	return backend{}, fmt.Errorf("%w: no backend of this build is usable on this machine%s", ErrBackend, reasons(verdicts))
}

// find returns the index of name in backends. from is the source of the name, for errors.
func find(name, from string) (int, error) {
	var names []string
	for i, b := range backends {
		if b.name == name {
			return i, nil
		}
		names = append(names, b.name)
	}
	return 0, fmt.Errorf("%w: %q (from %s): a Poll in this build can use %s; other backends work only with package loop (loop.Backends)", ErrBackend, name, from, strings.Join(names, ", "))
}

func reasons(verdicts []verdict) string {
	var b strings.Builder
	for _, v := range verdicts {
		fmt.Fprintf(&b, "; %s: %s", v.Name, v.Why)
	}
	return b.String()
}
