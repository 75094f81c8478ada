package leaktest

import (
	"net"
	"sync"

	"github.com/pollux-io/pollux/internal/sys"
)

// open returns the number of open handles. Wine also has /proc, but with descriptors of
// its own.
func open() int {
	startPoller()
	n, _ := sys.OpenHandles()
	return n
}

// startPoller opens the handles that Go keeps open after the first use of the network.
var startPoller = sync.OnceFunc(func() {
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close()
	}
})
