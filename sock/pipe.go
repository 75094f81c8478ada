package sock

import (
	"io"
	"net"
	"syscall"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// A PipeReader is the read end of a pipe.
type PipeReader struct {
	Descriptor
	io sys.Shared
}

// A PipeWriter is the write end of a pipe.
type PipeWriter struct {
	Descriptor
	io sys.Shared
}

// Pipe returns the two ends of a new pipe (pipe(7)). The error is a *net.OpError, with EMFILE if the
// process is out of file descriptors, or errors.ErrUnsupported on Windows.
func Pipe() (*PipeReader, *PipeWriter, error) {
	rfd, wfd, e := sys.Pipe()
	if e != 0 {
		return nil, nil, &net.OpError{Op: "pipe", Net: "pipe", Err: sys.CallError("pipe", e)}
	}
	r, w := &PipeReader{}, &PipeWriter{}
	r.h().Init(rfd, handle.PipeReader)
	w.h().Init(wfd, handle.PipeWriter)
	return r, w, nil
}

// Read reads available bytes into b. It returns io.EOF if all writers have closed, and
// ErrWouldBlock if the pipe is empty.
func (r *PipeReader) Read(b []byte) (int, error) {
	if r.h().Shared() {
		return r.read(b, r.io.Read)
	}
	return r.read(b, sys.Read)
}

// Write writes as much of b as the pipe accepts. If that is less than len(b), it also
// returns an error, ErrWouldBlock if the pipe is full. A write of up to PIPE_BUF bytes
// (4,096 on Linux, at least 512 elsewhere) is atomic (pipe(7)). If there is no reader, the
// error is syscall.EPIPE.
func (w *PipeWriter) Write(b []byte) (int, error) {
	if w.h().Shared() {
		return w.write(b, w.io.Write)
	}
	return w.write(b, sys.Write)
}

// An FD is a foreign descriptor: a tun device, an eventfd, an inotify instance, a serial line, or any
// other file whose readiness the kernel reports. FromFD and FromFile create it.
type FD struct {
	Descriptor
	io     sys.Shared
	socket bool
}

// FromFD takes ownership of an open descriptor: Close closes it, and the caller must not
// use it otherwise. FromFD makes it non-blocking and close-on-exec. Non-blocking mode is a
// property of the open file description, so it also affects other processes that have
// inherited or duplicated the descriptor, such as the shell of a terminal. If one of them
// switches it back, Read and Write still do not block: Linux has RWF_NOWAIT for most files
// (readv(2)); elsewhere they make the descriptor non-blocking again before each call, and
// can block only if it is switched back in between. The error is a *net.OpError, with
// EBADF if fd is not open; after an error the caller still owns fd.
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
	f.h().Init(n, handle.Foreign)
	return f, nil
}

// Read reads into b, as read(2) does on that kind of descriptor. It returns ErrWouldBlock if the
// read would block, and io.EOF if it reads 0 bytes into a b that is not empty.
func (f *FD) Read(b []byte) (int, error) {
	if f.socket && len(b) > 0 { // read(2) of 0 bytes takes no datagram
		return f.read(b, recv)
	}
	return f.read(b, f.io.Read)
}

// Write writes as much of b as the kernel accepts, by write(2), which it repeats after a partial
// write. If that is less than len(b), it also returns an error, ErrWouldBlock if the write would
// block.
func (f *FD) Write(b []byte) (int, error) {
	if f.socket {
		return f.write(b, send)
	}
	return f.write(b, f.io.Write)
}

func recv(fd sys.FD, b []byte) (int, syscall.Errno) { return sys.Recv(fd, b, 0) }

func send(fd sys.FD, b []byte) (int, syscall.Errno) { return sys.Send(fd, b, 0) }

func (d *Descriptor) read(b []byte, read func(sys.FD, []byte) (int, syscall.Errno)) (int, error) {
	fd, ok := d.h().Use()
	if !ok {
		return 0, d.opError("read", net.ErrClosed)
	}
	n, e := read(fd, b)
	d.h().Done()
	switch {
	case e == 0 && n == 0 && len(b) > 0:
		return 0, io.EOF
	case e == 0:
		if n < len(b) {
			d.h().Rearm(readable)
		}
		return n, nil
	case sys.WouldBlock(e):
		d.h().Rearm(readable)
		return 0, ErrWouldBlock
	}
	return 0, d.callError("read", "read", e)
}

// write continues after a partial write until the call would block: only then does every
// kind of descriptor reliably report when it becomes writable.
func (d *Descriptor) write(b []byte, write func(sys.FD, []byte) (int, syscall.Errno)) (int, error) {
	fd, ok := d.h().Use()
	if !ok {
		return 0, d.opError("write", net.ErrClosed)
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
	d.h().Done()
	switch {
	case e == 0 && total == len(b):
		return total, nil
	case e == 0 || sys.WouldBlock(e):
		d.h().Rearm(writable)
		return total, ErrWouldBlock
	}
	return total, d.callError("write", "write", e)
}
