package sock

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/internal/sys"
)

// A system that takes the times of keep-alive and does not return them, as NetBSD: whether
// probing is on is known, and the error is typed.
func TestKeepAliveTimesUnreadable(t *testing.T) {
	k, on, err := keepAlive(func(name string, level, option int) (int, error) {
		if level == sys.SOL_SOCKET {
			return 8, nil
		}
		return 0, &net.OpError{Op: "get " + name, Net: "tcp", Err: os.NewSyscallError("getsockopt", syscall.ENOPROTOOPT)}
	})
	if !on || k != (KeepAlive{}) || !errors.Is(err, errors.ErrUnsupported) || !errors.Is(err, syscall.ENOPROTOOPT) {
		t.Errorf("%+v, %v, %v; want no times, on, and ErrUnsupported", k, on, err)
	}
}
