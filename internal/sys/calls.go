package sys

import (
	"bytes"
	"net/netip"
	"sync"
	"syscall"
)

// The calls that virtual descriptors have, too. The functions os… are those of the machine's kernel.
//
// Those that take a plain buffer give a copy to a VirtualSocket: what is passed to a method of an
// interface is allocated on the heap, also where the call is one of the machine's. A driver of a
// simulated network calls the VirtualSocket itself.

// maxOwnBuffer is the largest buffer that ownBuffers keeps, in bytes.
const maxOwnBuffer = 1 << 20

// ownBuffers has pointers to buffers.
var ownBuffers sync.Pool

// ownBuffer returns a buffer of the size. It is not shorter even if less is unread: a longer datagram
// may arrive before the call, or be the next one after another goroutine's call.
func ownBuffer(size int) *[]byte {
	b, _ := ownBuffers.Get().(*[]byte)
	if b == nil || cap(*b) < size {
		own := make([]byte, size)
		return &own
	}
	*b = (*b)[:size]
	return b
}

func freeOwnBuffer(b *[]byte) {
	if cap(*b) <= maxOwnBuffer {
		ownBuffers.Put(b)
	}
}

// Close closes the descriptor.
func Close(fd FD) syscall.Errno {
	if s := virtual(fd); s != nil {
		return s.Close(fd)
	}
	return osClose(fd)
}

// Dup returns another descriptor of the same socket or open file, which programs that this process
// starts do not inherit.
func Dup(fd FD) (FD, syscall.Errno) {
	if s := virtual(fd); s != nil {
		return s.Dup()
	}
	return osDup(fd)
}

// SetNonblock makes the open file of fd, which all duplicates share, non-blocking.
func SetNonblock(fd FD) syscall.Errno {
	if s := virtual(fd); s != nil {
		return 0
	}
	return osSetNonblock(fd)
}

// FileKind returns the kind of fd: "regular file", "directory", "socket", "pipe", "character device",
// "block device" or "file". Error texts contain it, and backends depend on it.
func FileKind(fd FD) string {
	if s := virtual(fd); s != nil {
		return "socket"
	}
	return osFileKind(fd)
}

// Bind sets the socket's local address.
func Bind(fd FD, a *Sockaddr) syscall.Errno {
	if s := virtual(fd); s != nil {
		return s.Bind(*a)
	}
	return osBind(fd, a)
}

// Listen makes the socket accept connections, with at most backlog in the accept queue; the system
// may have a lower limit.
func Listen(fd FD, backlog int) syscall.Errno {
	if s := virtual(fd); s != nil {
		return s.Listen(backlog)
	}
	return osListen(fd, backlog)
}

// Accept takes a connection off the listener's queue, non-blocking and close-on-exec, and sets from
// to the peer's address.
func Accept(fd FD, from *Sockaddr) (FD, syscall.Errno) {
	if s := virtual(fd); s != nil {
		conn, a, e := s.Accept()
		*from = a
		return conn, e
	}
	return osAccept(fd, from)
}

// AcceptShared is Accept for a listener that may have duplicates, whose owners may have made it
// blocking.
func AcceptShared(fd FD, from *Sockaddr) (FD, syscall.Errno) {
	if s := virtual(fd); s != nil {
		return Accept(fd, from)
	}
	return osAcceptShared(fd, from)
}

// Connect starts connecting. The usual result is EINPROGRESS.
func Connect(fd FD, to *Sockaddr) syscall.Errno {
	if s := virtual(fd); s != nil {
		return s.Connect(*to)
	}
	return osConnect(fd, to)
}

// Shutdown shuts down one direction or both.
func Shutdown(fd FD, how int) syscall.Errno {
	if s := virtual(fd); s != nil {
		return s.Shutdown(how)
	}
	return osShutdown(fd, how)
}

// Recv is recv(2).
func Recv(fd FD, b []byte, flags int) (int, syscall.Errno) {
	if IsVirtual(fd) {
		return virtualRecv(fd, b, flags)
	}
	return osRecv(fd, b, flags)
}

func virtualRecv(fd FD, b []byte, flags int) (int, syscall.Errno) {
	s := virtual(fd)
	if s == nil {
		return 0, syscall.EBADF
	}
	own := ownBuffer(len(b))
	defer freeOwnBuffer(own)
	n, e := s.Recv([][]byte{*own}, flags)
	copy(b, (*own)[:n])
	return n, e
}

// Send is send(2) without SIGPIPE.
func Send(fd FD, b []byte, flags int) (int, syscall.Errno) {
	if IsVirtual(fd) {
		return virtualSend(fd, b, flags)
	}
	return osSend(fd, b, flags)
}

func virtualSend(fd FD, b []byte, flags int) (int, syscall.Errno) {
	if s := virtual(fd); s != nil {
		return s.Send([][]byte{bytes.Clone(b)}, flags)
	}
	return 0, syscall.EBADF
}

// Recvv is readv(2) on a socket, without blocking.
func Recvv(fd FD, v *Iovecs) (int, syscall.Errno) {
	if s := virtual(fd); s != nil {
		return s.Recv(v.buffers(), 0)
	}
	return osRecvv(fd, v)
}

// Sendv is writev(2) on a socket, without SIGPIPE.
func Sendv(fd FD, v *Iovecs) (int, syscall.Errno) {
	if s := virtual(fd); s != nil {
		return s.Send(v.buffers(), 0)
	}
	return osSendv(fd, v)
}

// buffers returns the slices that v refers to.
func (v *Iovecs) buffers() [][]byte {
	bufs := make([][]byte, v.n)
	for i := range bufs {
		bufs[i] = v.at(i)
	}
	return bufs
}

// SendTo sends one datagram.
func SendTo(fd FD, b []byte, to *Sockaddr) (int, syscall.Errno) {
	if s := virtual(fd); s != nil {
		return s.SendTo(bytes.Clone(b), *to)
	}
	return osSendTo(fd, b, to)
}

// RecvFrom receives one datagram and reports whether it was longer than b.
func RecvFrom(fd FD, b []byte, from *Sockaddr) (n int, truncated bool, e syscall.Errno) {
	if s := virtual(fd); s != nil {
		return virtualRecvFrom(s, b, from)
	}
	return osRecvFrom(fd, b, from)
}

func virtualRecvFrom(s VirtualSocket, b []byte, from *Sockaddr) (n int, truncated bool, e syscall.Errno) {
	own := ownBuffer(len(b))
	defer freeOwnBuffer(own)
	n, truncated, *from, e = s.RecvFrom(*own)
	copy(b, (*own)[:n])
	return n, truncated, e
}

// RecvMMsg receives datagrams into the first n buffers and returns how many. It returns an error
// only if there are none.
func RecvMMsg(fd FD, b *Batch, n int) (int, syscall.Errno) {
	if s := virtual(fd); s != nil {
		for i := range n {
			k, truncated, from, e := s.RecvFrom(b.buffer(i))
			if e != 0 {
				return i, errorIfNone(i, e)
			}
			b.setResult(i, k, truncated, &from)
		}
		return n, 0
	}
	return osRecvMMsg(fd, b, n)
}

// SendMMsg sends the buffers from first up to end and returns how many the kernel accepted. It stops
// at a datagram that fails; the next call returns the error.
func SendMMsg(fd FD, b *Batch, first, end int) (int, syscall.Errno) {
	if s := virtual(fd); s != nil {
		for i := first; i < end; i++ {
			var e syscall.Errno
			if to := b.destination(i); to != nil {
				_, e = s.SendTo(b.buffer(i), *to)
			} else {
				_, e = s.Send([][]byte{b.buffer(i)}, 0)
			}
			if e != 0 {
				return i - first, errorIfNone(i-first, e)
			}
		}
		return end - first, 0
	}
	return osSendMMsg(fd, b, first, end)
}

// errorIfNone returns e if n datagrams are none. Otherwise the next call returns it.
func errorIfNone(n int, e syscall.Errno) syscall.Errno {
	if n > 0 {
		return 0
	}
	return e
}

// LocalAddr returns the socket's own address.
func LocalAddr(fd FD) (Sockaddr, syscall.Errno) {
	if s := virtual(fd); s != nil {
		return s.LocalAddr()
	}
	return osLocalAddr(fd)
}

// PeerAddr returns the address of the socket's peer, or ENOTCONN if it has none.
func PeerAddr(fd FD) (Sockaddr, syscall.Errno) {
	if s := virtual(fd); s != nil {
		return s.PeerAddr()
	}
	return osPeerAddr(fd)
}

// SetInt sets an integer option.
func SetInt(fd FD, level, option, value int) syscall.Errno {
	if s := virtual(fd); s != nil {
		return s.SetInt(level, option, value)
	}
	return osSetInt(fd, level, option, value)
}

// GetInt returns an integer option.
func GetInt(fd FD, level, option int) (int, syscall.Errno) {
	if s := virtual(fd); s != nil {
		return s.GetInt(level, option)
	}
	return osGetInt(fd, level, option)
}

// SetLinger sets SO_LINGER: off, or on with a time in seconds.
func SetLinger(fd FD, on bool, seconds int) syscall.Errno {
	if s := virtual(fd); s != nil {
		return s.SetLinger(on, seconds)
	}
	return osSetLinger(fd, on, seconds)
}

// SetMembership joins or leaves a multicast group on the interface with the index; with 0 the system
// chooses.
func SetMembership(fd FD, group netip.Addr, ifindex int, join bool) syscall.Errno {
	if s := virtual(fd); s != nil {
		return s.SetMembership(group, ifindex, join)
	}
	return osSetMembership(fd, group, ifindex, join)
}

// SetMulticastInterface4 sets the interface for outgoing IPv4 multicast packets.
func SetMulticastInterface4(fd FD, ifindex int) syscall.Errno {
	if s := virtual(fd); s != nil {
		return 0 // a virtual host has one interface
	}
	return osSetMulticastInterface4(fd, ifindex)
}

// SocketError returns and clears the socket's pending error (SO_ERROR).
func SocketError(fd FD) syscall.Errno {
	if s := virtual(fd); s != nil {
		return s.SocketError()
	}
	return osSocketError(fd)
}

// UnreadBytes returns how many bytes a stream's receive buffer holds, or false if the system does not
// report it.
func UnreadBytes(fd FD) (int, bool) {
	if s := virtual(fd); s != nil {
		return s.UnreadBytes()
	}
	return osUnreadBytes(fd)
}

// UnackedBytes returns how many bytes the socket holds that the peer has not acknowledged, or false
// if the system does not report it.
func UnackedBytes(fd FD) (int, bool) {
	if s := virtual(fd); s != nil {
		return s.UnackedBytes()
	}
	return osUnackedBytes(fd)
}
