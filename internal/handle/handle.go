// Package handle tracks an open descriptor: the calls in progress on it, the queue that
// watches it, and when it can be closed. Every source that a queue can watch has a
// Handle; sockets are built around it.
//
// Close refuses new calls, ends the registration, and leaves the descriptor to its last user, so
// that no call ever reaches a number that the system has reused. A Handle does no I/O, and
// does not know what its owner is: a queue, or a driver with a set of its own (Owner).
package handle

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/pollux-io/pollux/internal/gate"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// Kind is what a descriptor refers to. Drivers depend on it, and errors contain its name.
type Kind uint8

const (
	Foreign Kind = iota
	TCPStream
	TCPListener
	UDPSocket
	UnixStream
	UnixListener
	UnixDatagram
	PipeReader
	PipeWriter
)

var kindNames = [...]string{
	"descriptor", "tcp stream", "tcp listener", "udp socket", "unix stream",
	"unix listener", "unix datagram socket", "pipe reader", "pipe writer",
}

func (k Kind) String() string { return kindNames[k] }

// Network returns the network name of package net, for errors; "pipe" or "descriptor" if
// net has no name for the kind.
func (k Kind) Network() string {
	switch k {
	case TCPStream, TCPListener:
		return "tcp"
	case UDPSocket:
		return "udp"
	case UnixStream, UnixListener:
		return "unix"
	case UnixDatagram:
		return "unixgram"
	case PipeReader, PipeWriter:
		return "pipe"
	}
	return "descriptor"
}

// Owner is the queue or driver that a handle is registered with. Its methods are called with the
// handle locked and the descriptor open.
type Owner interface {
	// Release ends the registration.
	Release(fd sys.FD, key selector.Key)
	// Rearm re-arms the directions d, after a call that would block, fell short or failed.
	Rearm(fd sys.FD, key selector.Key, d selector.Interest)
	// NeedsRearm reports whether Rearm must be called. The result never changes.
	NeedsRearm() bool
	// Ended reports whether the queue is closed, so that another queue may register the
	// handle.
	Ended() bool
}

// Registration is the owner that watches a handle, and the key of the registration there.
// The zero Registration means that none does.
type Registration struct {
	Owner Owner
	Key   selector.Key
}

// Errors of CheckFree and CheckOwned. They are public, in the root package.
var (
	ErrRegistered    = errors.New("source is already registered; change it with Reregister")
	ErrNotRegistered = errors.New("source is not registered; call Register first")
	ErrOtherPoll     = errors.New("source is registered with another Poll, or watched by a loop; deregister it or stop watching it first, or duplicate it")
)

// CheckFree returns ErrRegistered or ErrOtherPoll if owner must not register the handle: it
// is registered with owner, or with another queue that has not ended.
func (r Registration) CheckFree(owner Owner) error {
	switch {
	case r.Owner == owner:
		return ErrRegistered
	case r.Owner != nil && !r.Owner.Ended():
		return ErrOtherPoll
	}
	return nil
}

// CheckOwned returns ErrNotRegistered or ErrOtherPoll unless the handle is registered with
// owner.
func (r Registration) CheckOwned(owner Owner) error {
	switch r.Owner {
	case owner:
		return nil
	case nil:
		return ErrNotRegistered
	}
	return ErrOtherPoll
}

// Handle is an open descriptor. Init must be called once before other methods; until then
// the Handle behaves as closed. It must not be copied after Init.
//
// The registration changes only while the Handle is locked. The lock also keeps the
// descriptor open, because Close needs the lock. Calls on the descriptor itself take no
// lock: Use and Done count them, and the last call closes the descriptor if Close has been
// called meanwhile. So no call uses a descriptor number that the system has reused.
type Handle struct {
	users   gate.Gate
	fdPlus1 sys.FD // so that the zero Handle has no descriptor

	mu         sync.Mutex
	registered Registration

	// There is a Handle for each connection: small fields share a word.
	flags       atomic.Uint32 // needsRearm, shared, adopted
	kind        Kind
	otherKernel bool // otherKernelClosers has the function that closes it
	closed      bool
}

// Flags of a Handle.
const (
	needsRearm = 1 << iota // Owner.NeedsRearm of the current owner; set with mu held
	shared                 // the descriptor may have duplicates
	adopted                // it is a duplicate of one that package net or os has
)

// otherKernelClosers maps the *Handle of each descriptor of another kernel to the
// func(sys.FD) that closes it.
var otherKernelClosers sync.Map

// Init sets the descriptor, which h then owns.
func (h *Handle) Init(fd sys.FD, kind Kind) { h.fdPlus1, h.kind = fd+1, kind }

// IsNew reports whether Init has not been called yet.
func (h *Handle) IsNew() bool { return h.fdPlus1 == 0 }

func (h *Handle) fd() sys.FD { return h.fdPlus1 - 1 }

// InitForeign is Init for a descriptor of another kernel than this machine's, such as a kernel
// model under the conformance suite. closeFD closes the descriptor.
func (h *Handle) InitForeign(fd sys.FD, kind Kind, closeFD func(sys.FD)) {
	h.fdPlus1, h.kind, h.otherKernel = fd+1, kind, true
	otherKernelClosers.Store(h, closeFD)
}

func (h *Handle) close() {
	if !h.otherKernel {
		sys.Close(h.fd())
		return
	}
	if closeFD, ok := otherKernelClosers.LoadAndDelete(h); ok {
		closeFD.(func(sys.FD))(h.fd())
	}
}

// Kind returns the descriptor's kind.
func (h *Handle) Kind() Kind { return h.kind }

// Share records that the descriptor may have duplicates. It must be called before the
// first duplicate is made.
func (h *Handle) Share() { h.flags.Or(shared) }

// Shared reports whether the descriptor may have duplicates. The owners of duplicates may
// change properties of the open file description, such as O_NONBLOCK.
func (h *Handle) Shared() bool { return h.flags.Load()&shared != 0 }

// Use begins a call on the descriptor and returns it, or returns false if h is closed.
// After true, the caller must call Done.
func (h *Handle) Use() (sys.FD, bool) {
	fd := h.fd()
	return fd, fd != sys.InvalidFD && h.users.Enter(gate.Long)
}

// Done ends the call that Use began.
func (h *Handle) Done() {
	if h.users.Leave(gate.Long).Empty {
		h.close()
	}
}

// Close ends the registration, then closes the descriptor, or leaves that to
// the last call in progress. It returns net.ErrClosed if h is already closed.
func (h *Handle) Close() error {
	if err := h.markClosed(); err != nil {
		return err
	}
	if _, p := h.users.Close(); p.Empty {
		h.close()
	}
	return nil
}

// Detach ends the registration and returns the open descriptor, which the caller then owns.
// Calls in progress on other goroutines may still finish on it.
func (h *Handle) Detach() (sys.FD, error) {
	if err := h.markClosed(); err != nil {
		return sys.InvalidFD, err
	}
	if h.otherKernel {
		otherKernelClosers.Delete(h)
	}
	// One user enters and never leaves, so that no user is the last, which would close it.
	h.users.Enter(gate.Long)
	h.users.Close()
	return h.fd(), nil
}

// markClosed marks h closed and ends its registration.
func (h *Handle) markClosed() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.IsNew() {
		return net.ErrClosed
	}
	h.closed = true
	if r := h.registered; r.Owner != nil {
		h.Set(Registration{})
		r.Owner.Release(h.fd(), r.Key)
	}
	return nil
}

// Lock locks h for a change of its registration and returns the descriptor and the
// registration. If h is closed, it returns net.ErrClosed and h is not locked.
func (h *Handle) Lock() (sys.FD, Registration, error) {
	h.mu.Lock()
	if h.closed || h.IsNew() {
		h.mu.Unlock()
		return sys.InvalidFD, Registration{}, net.ErrClosed
	}
	return h.fd(), h.registered, nil
}

// Unlock unlocks h.
func (h *Handle) Unlock() { h.mu.Unlock() }

// Set changes the registration. h must be locked.
func (h *Handle) Set(r Registration) {
	h.registered = r
	if r.Owner != nil && r.Owner.NeedsRearm() {
		h.flags.Or(needsRearm)
	} else {
		h.flags.And(^uint32(needsRearm))
	}
}

// Rearm calls Owner.Rearm if the owner wants that. It follows a call in the
// directions d that would block, fell short or failed.
func (h *Handle) Rearm(d selector.Interest) {
	if h.flags.Load()&needsRearm != 0 {
		h.rearm(d)
	}
}

func (h *Handle) rearm(d selector.Interest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.registered; r.Owner != nil {
		r.Owner.Rearm(h.fd(), r.Key, d)
	}
}
