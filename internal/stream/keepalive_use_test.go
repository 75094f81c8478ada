package stream

import (
	"net"
	"testing"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// PassesOnKeepAlive has ended its use of the listener when it returns, on every system, whether
// connections inherit keep-alive or not: Close then closes the descriptor.
func TestPassesOnKeepAliveEndsItsUse(t *testing.T) {
	for name, o := range map[string]*AcceptOptions{
		"no options":        nil,
		"without KeepAlive": {NoDelay: NoDelayOn},
		"with KeepAlive":    {KeepAlive: &net.KeepAliveConfig{Enable: true}},
	} {
		closed := 0
		var h handle.Handle
		h.InitForeign(1<<20, handle.TCPListener, func(sys.FD) { closed++ }) // not open: reading its option fails
		PassesOnKeepAlive(&h, o)
		if err := h.Close(); err != nil || closed != 1 {
			t.Errorf("%s: Close returned %v and closed the descriptor %d times, want nil and once", name, err, closed)
		}
	}
}
