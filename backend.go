package pollux

import (
	"github.com/pollux-io/pollux/internal/backend"
	"github.com/pollux-io/pollux/internal/queue"
)

// BackendEnv is the environment variable that forces a backend: POLLUX_BACKEND.
const BackendEnv = backend.Env

// BackendInfo describes a backend and reports whether this machine can use it.
type BackendInfo struct {
	// Name is the name that Backend and POLLUX_BACKEND accept.
	Name string
	// Usable reports whether the backend could be opened.
	Usable bool
	// Default reports whether New uses the backend when no name is given.
	Default bool
	// Why describes a usable backend, or gives the reason why it is not usable.
	Why string
}

// Backends returns the backends of this build, best first, each after an attempt to open it. The
// result is cached, unless an attempt failed because the process was out of descriptors or
// memory. Loops have others, too: see loop.Backends.
func Backends() []BackendInfo {
	var infos []BackendInfo
	for _, info := range queue.Probe() {
		infos = append(infos, BackendInfo(info))
	}
	return infos
}
