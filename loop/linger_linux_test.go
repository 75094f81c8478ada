package loop_test

import "github.com/pollux-io/pollux/internal/sys"

// lingers reports whether SO_LINGER is on.
func lingers(fd sys.FD) bool {
	on, _ := sys.Linger(fd)
	return on
}
