package spread

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/sock"
)

// If the interfaces cannot be listed, one socket receives everything: of several, each would
// deliver what is sent to a broadcast address that the filter does not have.
func TestL12OneSocketWithoutInterfaces(t *testing.T) {
	any4 := netip.MustParseAddrPort("0.0.0.0:0")
	for _, c := range []struct {
		err    error
		listed bool
	}{
		{syscall.EACCES, false}, {syscall.EINVAL, false}, {nil, true},
	} {
		all, err := UDP(3, any4, func() ([]net.Interface, error) { return nil, c.err })
		if err != nil {
			t.Fatal(err)
		}
		if spread := len(all) > 1; spread != (c.listed && runtime.GOOS == "linux") {
			t.Errorf("with %v from net.Interfaces: %d sockets", c.err, len(all))
		}
		if second, err := sock.ListenUDP(all[0].LocalAddr(), sock.ReusePort(true)); len(all) == 1 && err == nil {
			second.Close()
			t.Errorf("with %v from net.Interfaces: another socket can share the port", c.err)
		} else if err == nil {
			second.Close()
		}
		for _, u := range all {
			u.Close()
		}
	}
	if runtime.GOOS != "linux" {
		return
	}
	_, err := UDP(3, any4, func() ([]net.Interface, error) { return nil, os.NewSyscallError("netlinkrib", syscall.EMFILE) })
	if !errors.Is(err, syscall.EMFILE) {
		t.Errorf("out of file descriptors: got %v, want EMFILE", err)
	}
}
