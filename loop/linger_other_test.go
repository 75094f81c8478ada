//go:build !linux

package loop_test

import (
	"runtime"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
)

// lingers reports whether SO_LINGER is on. The kernel stores the first bytes of a struct linger.
func lingers(fd sys.FD) bool {
	onoff, _ := sys.GetInt(fd, sys.SOL_SOCKET, syscall.SO_LINGER)
	if runtime.GOOS == "windows" {
		onoff &= 0xffff // l_onoff has 16 bits there, and l_linger follows
	}
	return onoff != 0
}
