package leaktest

import (
	"net"
	"sync"

	"github.com/pollux-io/pollux/internal/sys"
)

// open counts handles: not by /proc, which Wine shows, but where it keeps
// descriptors of its own.
func open() int {
	startPoller()
	n, _ := sys.OpenHandles()
	return n
}

// startPoller opens what Go keeps open once the network was used.
var startPoller = sync.OnceFunc(func() {
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close()
	}
})
