package sock

import (
	"syscall"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// A Descriptor has the methods that all types of this package have in common.
type Descriptor struct{ held }

type held = handle.Held

func (d *Descriptor) h() *handle.Handle { return handle.In(&d.held) }

// Close ends the registration with a Poll, if there is one, then closes the
// descriptor. If other calls are in progress, Close does not wait for them: the last of
// them closes the descriptor. Closing blocks only as SetLinger allows, in Close or in that
// last call. A second Close returns ErrClosed.
func (d *Descriptor) Close() error {
	if err := d.h().Close(); err != nil {
		return d.opError("close", err)
	}
	return nil
}

// Detach ends the registration with a Poll, if there is one, and returns the open
// descriptor, which the caller then owns. It is non-blocking, unless the owner of a
// duplicate has changed that. Calls in progress on other goroutines may still finish on it.
// Every later call on the socket returns ErrClosed. With an error, which is ErrClosed, the
// descriptor is ^uintptr(0).
func (d *Descriptor) Detach() (uintptr, error) {
	fd, err := d.h().Detach()
	if err != nil {
		return ^uintptr(0), d.opError("detach", err)
	}
	return uintptr(fd), nil
}

// SyscallConn returns raw access for operations that this package does not have, such as a
// special socket option; its error is always nil. Control of the result calls f with the
// descriptor, which stays open until f returns. Read and Write call f once and do not block: f
// returns false if its system call would have blocked, and the Poll then reports the next
// readiness. f may duplicate the descriptor: see File for what duplicates share. f must not block
// or close the descriptor. The error of the three methods is a *net.OpError with ErrClosed.
func (d *Descriptor) SyscallConn() (syscall.RawConn, error) {
	d.h().Share() // the caller can duplicate the descriptor
	return rawConn{d}, nil
}

type rawConn struct{ d *Descriptor }

func (r rawConn) Control(f func(fd uintptr)) error {
	return r.d.withFD("control", func(fd sys.FD) error {
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
		r.d.h().Rearm(d)
	}
	return err
}

// withFD runs f with the descriptor, which stays open until f returns.
func (d *Descriptor) withFD(op string, f func(fd sys.FD) error) error { return d.h().With(op, f) }

// callError returns the error of a system call that failed with e.
func (d *Descriptor) callError(op, call string, e syscall.Errno) error {
	return d.h().CallError(op, call, e)
}

// opError returns err in a *net.OpError with the operation and the addresses, if the
// system still has them.
func (d *Descriptor) opError(op string, err error) error { return d.h().OpError(op, err) }

func localAddr(d *Descriptor) (sys.Sockaddr, error) { return address(d, "getsockname", sys.LocalAddr) }

func peerAddr(d *Descriptor) (sys.Sockaddr, error) { return address(d, "getpeername", sys.PeerAddr) }

func address(d *Descriptor, call string, get func(sys.FD) (sys.Sockaddr, syscall.Errno)) (a sys.Sockaddr, err error) {
	err = d.withFD(call, func(fd sys.FD) error {
		var e syscall.Errno
		if a, e = get(fd); e != 0 {
			return d.callError("address", call, e)
		}
		return nil
	})
	return a, err
}
