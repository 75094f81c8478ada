package sock

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/internal/sys"
)

// On a system that accepts the keep-alive times and does not return them, such as NetBSD,
// KeepAlive still reports whether probes are enabled, and the error is ErrUnsupported.
func TestKeepAliveTimesUnreadable(t *testing.T) {
	k, err := keepAlive(func(name string, level, option int) (int, error) {
		if level == sys.SOL_SOCKET {
			return 8, nil
		}
		return 0, &net.OpError{Op: "get " + name, Net: "tcp", Err: os.NewSyscallError("getsockopt", syscall.ENOPROTOOPT)}
	})
	if k != (net.KeepAliveConfig{Enable: true}) || !errors.Is(err, errors.ErrUnsupported) || !errors.Is(err, syscall.ENOPROTOOPT) {
		t.Errorf("%+v, %v; want Enable, no times, and ErrUnsupported", k, err)
	}
}
