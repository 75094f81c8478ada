package sock

import (
	"io"
	"net"
	"syscall"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// PipeReader is the end of a pipe that is read from.
type PipeReader struct {
	Descriptor
	io sys.Shared
}

// PipeWriter is the end of a pipe that is written to.
type PipeWriter struct {
	Descriptor
	io sys.Shared
}

// Pipe returns the two ends of a new pipe (pipe(7)). It fails if the process
// is out of descriptors (EMFILE), and on Windows, with errors.ErrUnsupported.
func Pipe() (*PipeReader, *PipeWriter, error) {
	rfd, wfd, e := sys.Pipe()
	if e != 0 {
		return nil, nil, &net.OpError{Op: "pipe", Net: "pipe", Err: sys.CallError("pipe", e)}
	}
	r, w := &PipeReader{}, &PipeWriter{}
	r.h.Init(rfd, handle.PipeReader)
	w.h.Init(wfd, handle.PipeWriter)
	return r, w, nil
}

// Read reads what is there into b. It returns io.EOF when every writer is gone,
// and ErrWouldBlock when there is nothing now.
func (r *PipeReader) Read(b []byte) (int, error) {
	if r.h.Shared() {
		return r.read(b, r.io.Read)
	}
	return r.read(b, sys.Read)
}

// Write writes as much of b as the pipe takes; fewer bytes than len(b) come with
// an error, ErrWouldBlock if the pipe is full. Up to PIPE_BUF bytes, 4,096 on
// Linux and 512 at least, are taken whole or not at all (pipe(7)). Without a
// reader the error holds syscall.EPIPE.
func (w *PipeWriter) Write(b []byte) (int, error) {
	if w.h.Shared() {
		return w.write(b, w.io.Write)
	}
	return w.write(b, sys.Write)
}

// FD is a foreign descriptor: a tun device, eventfd, inotify, serial line, or
// whatever else the kernel can tell readiness of.
type FD struct {
	Descriptor
	io     sys.Shared
	socket bool
}

// FromFD takes over an open descriptor, which must not be used otherwise from
// then on: Close closes it. It is made non-blocking and close-on-exec. To be
// non-blocking is a property of the open file, so other processes that have inherited or
// duplicated the descriptor, such as the shell of a terminal, see it too. If one of them
// switches it back, Read and Write still do not wait: Linux has RWF_NOWAIT for most files
// (readv(2)); elsewhere they make it non-blocking again before they touch it, and can wait
// only if it is switched back within that very moment. The error is a *net.OpError, with
// EBADF if fd is not open; fd is still the caller's then.
func FromFD(fd uintptr) (*FD, error) {
	n := sys.FD(fd)
	if e := sys.SetNonblock(n); e != 0 {
		return nil, &net.OpError{Op: "adopt", Net: "descriptor", Err: sys.CallError("fcntl", e)}
	}
	sys.CloseOnExec(n)
	f := &FD{}
	kind := sys.FileKind(n)
	f.socket = kind == "socket"
	if sys.IsAlwaysReady(kind) {
		f.io.Plain()
	}
	f.h.Init(n, handle.Foreign)
	return f, nil
}

// Read reads what is there into b, as read(2) does on that kind of descriptor.
// It returns io.EOF for 0 bytes.
func (f *FD) Read(b []byte) (int, error) {
	if f.socket && len(b) > 0 { // read(2) of 0 bytes takes no datagram
		return f.read(b, recv)
	}
	return f.read(b, f.io.Read)
}

// Write writes as much of b as the kernel takes, as write(2) does on that kind of
// descriptor; fewer bytes than len(b) come with an error.
func (f *FD) Write(b []byte) (int, error) {
	if f.socket {
		return f.write(b, send)
	}
	return f.write(b, f.io.Write)
}

func recv(fd sys.FD, b []byte) (int, syscall.Errno) { return sys.Recv(fd, b, 0) }

func send(fd sys.FD, b []byte) (int, syscall.Errno) { return sys.Send(fd, b, 0) }

func (d *Descriptor) read(b []byte, read func(sys.FD, []byte) (int, syscall.Errno)) (int, error) {
	fd, ok := d.h.Use()
	if !ok {
		return 0, d.failure("read", net.ErrClosed)
	}
	n, e := read(fd, b)
	d.h.Done()
	switch {
	case e == 0 && n == 0 && len(b) > 0:
		return 0, io.EOF
	case e == 0:
		if n < len(b) {
			d.h.Blocked(readable)
		}
		return n, nil
	case sys.WouldBlock(e):
		d.h.Blocked(readable)
		return 0, ErrWouldBlock
	}
	return 0, d.failed("read", "read", e)
}

// write goes on after a partial write until the kernel refuses: only then is
// every kind of descriptor sure to tell when there is room again.
func (d *Descriptor) write(b []byte, write func(sys.FD, []byte) (int, syscall.Errno)) (int, error) {
	fd, ok := d.h.Use()
	if !ok {
		return 0, d.failure("write", net.ErrClosed)
	}
	total := 0
	var e syscall.Errno
	for {
		var n int
		n, e = write(fd, b[total:])
		total += n
		if e != 0 || n == 0 || total == len(b) {
			break
		}
	}
	d.h.Done()
	switch {
	case e == 0 && total == len(b):
		return total, nil
	case e == 0 || sys.WouldBlock(e):
		d.h.Blocked(writable)
		return total, ErrWouldBlock
	}
	return total, d.failed("write", "write", e)
}
