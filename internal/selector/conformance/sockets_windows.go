package conformance

import (
	"os"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// Pipes cannot be watched on Windows: Pipe stays nil.
func addSystem(s *System) {
	s.RegularFile = regularFile
	s.OpenDescriptors = func() int {
		n, _ := sys.OpenHandles()
		return n
	}
}

func regularFile() (pollux.Source, func(), error) {
	f, err := os.CreateTemp("", "pollux")
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	fd, err := sock.FromFile(f)
	if err != nil {
		os.Remove(f.Name())
		return nil, nil, err
	}
	return fd, func() {
		fd.Close()
		os.Remove(f.Name())
	}, nil
}
