// Package handle keeps an open descriptor: who is using it, which queue watches
// it, and when it may be given back. Every source that a queue can watch has
// one; sockets are built around it.
package handle

import (
	"net"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/pollux-io/pollux/internal/gate"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// Kind says what a descriptor is: drivers choose by it, errors name it.
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

// Network is what package net calls it, as the errors do; "pipe" or "descriptor" if that
// has no name for it.
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

// Owner is the queue that a handle is registered with. Its methods are called
// with the handle locked, the descriptor open.
type Owner interface {
	// Release ends the registration.
	Release(fd sys.FD, key selector.Key)
	// Blocked says that calls in the directions d would have blocked.
	Blocked(fd sys.FD, key selector.Key, d selector.Interest)
	// WantsBlocked says whether Blocked must be called. It never changes.
	WantsBlocked() bool
	// Ended reports whether the queue is closed, so that another may take the handle.
	Ended() bool
}

// Registration is the queue that watches a handle, and under which key. The
// zero Registration is none.
type Registration struct {
	Owner Owner
	Key   selector.Key
}

// Of returns the handle of a source; nil of none, and of a nil pointer to one.
func Of(source interface{ PollHandle() *Handle }) *Handle {
	if IsNil(source) {
		return nil
	}
	return source.PollHandle()
}

// IsNil also knows a nil pointer in an interface.
func IsNil(x any) bool {
	v := reflect.ValueOf(x)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// Handle is an open descriptor. Init comes first, once; before, it is as closed. It must
// not be copied after.
//
// Locked, it lets the registration be changed; the lock also keeps the
// descriptor open, for Close needs it. Calls on the descriptor itself take no
// lock: they are counted in and out by Use and Done, and the last of them
// closes the descriptor if Close has come meanwhile. So no call ever reaches a
// number that the system has given to somebody else.
type Handle struct {
	users gate.Gate
	place sys.FD // the descriptor plus one, so that the zero Handle has none

	mu         sync.Mutex
	registered Registration

	// Handles are as many as connections: small fields share a word.
	flags     atomic.Uint32 // wantsBlocked, shared
	kind      Kind
	elsewhere bool // of another kernel: elsewhere says how to close it
	closed    bool
}

// Flags of a Handle.
const (
	wantsBlocked = 1 << iota // the owner wants Blocked to be called; set with mu held
	shared                   // the descriptor may have duplicates
)

// elsewhere has what closes the descriptors of other kernels: a func(sys.FD) for each
// *Handle.
var elsewhere sync.Map

// Init gives h its descriptor, which h owns from now on.
func (h *Handle) Init(fd sys.FD, kind Kind) { h.place, h.kind = fd+1, kind }

// IsNew reports whether Init has not come yet.
func (h *Handle) IsNew() bool { return h.place == 0 }

func (h *Handle) fd() sys.FD { return h.place - 1 }

// InitOf is Init for a descriptor of another kernel than this machine's, such as a
// model that the conformance suite is pointed at: give closes it.
func (h *Handle) InitOf(fd sys.FD, kind Kind, give func(sys.FD)) {
	h.place, h.kind, h.elsewhere = fd+1, kind, true
	elsewhere.Store(h, give)
}

func (h *Handle) close() {
	if !h.elsewhere {
		sys.Close(h.fd())
		return
	}
	if give, ok := elsewhere.LoadAndDelete(h); ok {
		give.(func(sys.FD))(h.fd())
	}
}

// Kind says what the descriptor is.
func (h *Handle) Kind() Kind { return h.kind }

// Share records that the descriptor may have duplicates from now on. It comes before the
// first duplicate.
func (h *Handle) Share() { h.flags.Or(shared) }

// Shared reports whether the descriptor may have duplicates, whose owners may change what
// is a property of the open file: whether calls wait.
func (h *Handle) Shared() bool { return h.flags.Load()&shared != 0 }

// Use counts the caller in and returns the descriptor, or returns false if h is
// closed. After true, Done must follow.
func (h *Handle) Use() (sys.FD, bool) {
	fd := h.fd()
	return fd, fd != sys.InvalidFD && h.users.Enter(gate.Long)
}

// Done counts the caller out.
func (h *Handle) Done() {
	if h.users.Leave(gate.Long).Empty {
		h.close()
	}
}

// Close ends the registration, then closes the descriptor, or leaves that to
// the last call in progress. It returns net.ErrClosed if h is closed already.
func (h *Handle) Close() error {
	if err := h.shut(); err != nil {
		return err
	}
	if _, p := h.users.Close(); p.Empty {
		h.close()
	}
	return nil
}

// Detach ends the registration and gives the descriptor to the caller, open.
// Calls in progress on other goroutines may still finish on it.
func (h *Handle) Detach() (sys.FD, error) {
	if err := h.shut(); err != nil {
		return sys.InvalidFD, err
	}
	if h.elsewhere {
		elsewhere.Delete(h)
	}
	// One user stays inside for good, so that nobody is the last.
	h.users.Enter(gate.Long)
	h.users.Close()
	return h.fd(), nil
}

func (h *Handle) shut() error {
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

// Lock locks h for a change of its registration, and returns the descriptor and
// the registration; net.ErrClosed, and no lock, if h is closed.
func (h *Handle) Lock() (sys.FD, Registration, error) {
	h.mu.Lock()
	if h.closed || h.IsNew() {
		h.mu.Unlock()
		return sys.InvalidFD, Registration{}, net.ErrClosed
	}
	return h.fd(), h.registered, nil
}

// Unlock ends what Lock began.
func (h *Handle) Unlock() { h.mu.Unlock() }

// Set changes the registration; h is locked.
func (h *Handle) Set(r Registration) {
	h.registered = r
	if r.Owner != nil && r.Owner.WantsBlocked() {
		h.flags.Or(wantsBlocked)
	} else {
		h.flags.And(^uint32(wantsBlocked))
	}
}

// Blocked tells the queue, if it wants to know, that a call in the directions d
// would have blocked.
func (h *Handle) Blocked(d selector.Interest) {
	if h.flags.Load()&wantsBlocked != 0 {
		h.blocked(d)
	}
}

func (h *Handle) blocked(d selector.Interest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.registered; r.Owner != nil {
		r.Owner.Blocked(h.fd(), r.Key, d)
	}
}
