package handle

import (
	"fmt"

	"github.com/pollux-io/pollux/internal/misuse"
	"github.com/pollux-io/pollux/internal/sys"
)

// Network is a host with a kernel of its own, which is for the packages of this module only: it
// embeds a Hosted. So sock.Network is sealed.
type Network interface{ kernel() sys.Kernel }

// Hosted is a Kernel to embed in an exported type. It has no exported fields or methods.
type Hosted struct{ k sys.Kernel }

var _ Network = (*Hosted)(nil)

func (h *Hosted) kernel() sys.Kernel { return h.k }

// SetKernel sets the kernel of h. It must be called once, before h is used.
func SetKernel(h *Hosted, k sys.Kernel) { h.k = k }

// KernelOf returns the kernel of a network, or nil, which means the machine's, if n is nil. The error
// is for values that must not be mistaken for that: a nil pointer, and a network without SetKernel.
func KernelOf(n Network) (sys.Kernel, error) {
	switch {
	case n == nil:
		return nil, nil
	case IsNil(n):
		return nil, fmt.Errorf("%w: the network is a nil %T", misuse.ErrBadArgument, n)
	case n.kernel() == nil:
		return nil, fmt.Errorf("%w: the network is the zero value of %T: a simulated network makes its hosts", misuse.ErrBadArgument, n)
	}
	return n.kernel(), nil
}

// Virtual returns the socket of another kernel than the machine's that h is open on, or nil. It must
// not be used after h is closed.
func (h *Handle) Virtual() sys.VirtualSocket { return sys.Virtual(h.fd()) }
