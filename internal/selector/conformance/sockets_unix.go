//go:build unix

package conformance

import "github.com/pollux-io/pollux/sock"

func addSystem(s *System) {
	s.Pipe = func() (Reader, Writer, error) {
		r, w, err := sock.Pipe()
		if err != nil {
			return nil, nil, err
		}
		return r, w, nil
	}
	s.RegularFile = regularFile
}
