//go:build unix || windows

package conformance

import (
	"os"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/sock"
)

// regularFile returns a regular file, which no queue can watch, and what removes it.
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
