package pollux

import (
	"github.com/pollux-io/pollux/internal/backend"
	"github.com/pollux-io/pollux/internal/queue"
)

// BackendEnv is the environment variable that forces a backend: POLLUX_BACKEND.
const BackendEnv = backend.Env

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
	for _, info := range queue.Probe() {
		infos = append(infos, BackendInfo(info))
	}
	return infos
}
