package sock

import (
	"net"
	"syscall"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// Descriptor is what all types of this package have in common.
type Descriptor struct{ h handle.Handle }

// PollHandle makes the type a pollux.Source.
func (d *Descriptor) PollHandle() *handle.Handle { return &d.h }

// Close ends the registration with a Poll, if there is one, then closes the
// descriptor, or leaves that to the last call in progress, for which it does not wait. It
// blocks in the kernel only where SetLinger has asked for that; so does the last call then,
// if closing is left to it. A second Close returns ErrClosed.
func (d *Descriptor) Close() error {
	if err := d.h.Close(); err != nil {
		return d.failure("close", err)
	}
	return nil
}

// Detach ends the registration with a Poll, if there is one, and gives the
// descriptor to the caller, open; it is non-blocking, unless the owner of a duplicate has
// changed that. Calls in progress on other goroutines may still finish on it. Every later
// call on the socket returns ErrClosed.
func (d *Descriptor) Detach() (uintptr, error) {
	fd, err := d.h.Detach()
	if err != nil {
		return ^uintptr(0), d.failure("detach", err)
	}
	return uintptr(fd), nil
}

// SyscallConn gives raw access for what this package does not offer, such as a
// special socket option. Its Control calls f with the descriptor, which stays
// open meanwhile. Read and Write call f once and do not wait: f returns false if its call
// would have blocked, and the Poll then reports the next readiness. f may duplicate the
// descriptor: see File for what the duplicates share. It must not wait, and not close the
// descriptor.
func (d *Descriptor) SyscallConn() (syscall.RawConn, error) {
	d.h.Share() // whoever has the descriptor can duplicate it
	return rawConn{d}, nil
}

type rawConn struct{ d *Descriptor }

func (r rawConn) Control(f func(fd uintptr)) error {
	return r.d.use("control", func(fd sys.FD) error {
		f(uintptr(fd))
		return nil
	})
}

func (r rawConn) Read(f func(fd uintptr) bool) error { return r.transfer(readable, f) }

func (r rawConn) Write(f func(fd uintptr) bool) error { return r.transfer(writable, f) }

func (r rawConn) transfer(d selector.Interest, f func(fd uintptr) bool) error {
	done := false
	err := r.Control(func(fd uintptr) { done = f(fd) })
	if err == nil && !done {
		r.d.h.Blocked(d)
	}
	return err
}

// use runs f with the descriptor kept open.
func (d *Descriptor) use(op string, f func(fd sys.FD) error) error {
	fd, ok := d.h.Use()
	if !ok {
		return d.failure(op, net.ErrClosed)
	}
	defer d.h.Done()
	return f(fd)
}

// failed makes the error for a system call that did.
func (d *Descriptor) failed(op, call string, e syscall.Errno) error {
	return d.failure(op, sys.CallError(call, e))
}

// failure makes an error with the operation and the addresses, as far as the system still
// knows them.
func (d *Descriptor) failure(op string, err error) error {
	e := &net.OpError{Op: op, Net: d.h.Kind().Network(), Err: err}
	if fd, ok := d.h.Use(); ok {
		e.Source, e.Addr = addresses(d.h.Kind(), fd)
		d.h.Done()
	}
	return e
}

func addresses(k handle.Kind, fd sys.FD) (local, peer net.Addr) {
	switch k {
	case handle.Foreign, handle.PipeReader, handle.PipeWriter:
		return nil, nil
	}
	if a, e := sys.LocalAddr(fd); e == 0 {
		local = netAddr(k, &a)
	}
	if a, e := sys.PeerAddr(fd); e == 0 {
		peer = netAddr(k, &a)
	}
	return local, peer
}

func netAddr(k handle.Kind, a *sys.Sockaddr) net.Addr {
	switch k {
	case handle.TCPStream, handle.TCPListener:
		return net.TCPAddrFromAddrPort(a.AddrPort())
	case handle.UDPSocket:
		return net.UDPAddrFromAddrPort(a.AddrPort())
	case handle.UnixStream, handle.UnixListener, handle.UnixDatagram:
		return &net.UnixAddr{Name: a.Unix(), Net: k.Network()}
	}
	return nil
}
