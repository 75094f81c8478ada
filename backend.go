package pollux

import (
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/pollux-io/pollux/internal/selector"
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

// Backends probes the backends of this build, once for each process, and
// returns them, best first.
func Backends() []BackendInfo { return append([]BackendInfo(nil), probe()...) }

var probe = sync.OnceValue(func() []BackendInfo {
	infos := make([]BackendInfo, 0, len(backends))
	chosen := false
	for _, b := range backends {
		info := BackendInfo{Name: b.name, Why: b.note}
		s, err := b.open(selector.Config{})
		if err != nil {
			info.Why = err.Error()
		} else {
			s.Close()
			info.Usable = true
			info.Default = !chosen
			chosen = true
		}
		infos = append(infos, info)
	}
	return infos
})

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
		if info := probe()[i]; !info.Usable {
			return backend{}, fmt.Errorf("%w: %q (from %s): %s", ErrBackend, name, from, info.Why)
		}
		return backends[i], nil
	}
	for i, info := range probe() {
		if info.Default {
			return backends[i], nil
		}
	}
	return backend{}, fmt.Errorf("%w: none of this build is usable here%s", ErrBackend, whyNot())
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

func whyNot() string {
	var b strings.Builder
	for _, info := range probe() {
		fmt.Fprintf(&b, "; %s: %s", info.Name, info.Why)
	}
	return b.String()
}
