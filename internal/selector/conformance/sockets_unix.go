//go:build unix

package conformance

import (
	"os"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/sock"
)

func addSystem(s *System) {
	s.Pipe = func() (Reader, Writer, error) {
		r, w, err := sock.Pipe()
		if err != nil {
			return nil, nil, err
		}
		return r, w, nil
	}
	s.RegularFile = regularFile
	if _, err := os.ReadDir("/dev/fd"); err == nil {
		s.OpenDescriptors = func() int {
			open, _ := os.ReadDir("/dev/fd")
			return len(open)
		}
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
