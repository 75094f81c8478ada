package handle

import (
	"fmt"
	"net"

	"github.com/pollux-io/pollux/internal/misuse"
	"github.com/pollux-io/pollux/internal/sys"
)

// errInUse is the error of MoveTo while a call uses the descriptor.
var errInUse = fmt.Errorf("%w: another call is in progress on the descriptor; move it when that has returned", misuse.ErrBadArgument)

// Adopt records that the descriptor is a duplicate of one that package net or os has. It implies
// Share.
func (h *Handle) Adopt() { h.flags.Or(shared | adopted) }

// Adopted reports whether Adopt was called.
func (h *Handle) Adopted() bool { return h.flags.Load()&adopted != 0 }

// MoveTo moves the open descriptor to another Handle, on which Init must not have been called;
// h is closed then. If it returns an error, nothing has changed: net.ErrClosed, ErrOtherPoll if a
// queue watches h, or ErrBadArgument if a call is in progress, which would otherwise finish on a
// descriptor that its new owner may have closed.
func (h *Handle) MoveTo(to *Handle) error {
	if !to.IsNew() {
		panic("handle: the destination of MoveTo has a descriptor")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.registered
	switch {
	case h.closed || h.IsNew():
		return net.ErrClosed
	case r.Owner != nil && !r.Owner.Ended():
		return ErrOtherPoll
	case !h.users.CloseIfEmpty():
		return errInUse
	}
	h.closed = true
	if r.Owner != nil {
		h.Set(Registration{})
		r.Owner.Release(h.fd(), r.Key)
	}
	if closeFD, ok := otherKernelClosers.LoadAndDelete(h); ok {
		to.InitForeign(h.fd(), h.kind, closeFD.(func(sys.FD)))
	} else {
		to.Init(h.fd(), h.kind)
	}
	to.flags.Or(h.flags.Load() & (shared | adopted))
	return nil
}
