package sys

import (
	"net"
	"net/netip"
	"sync"
	"syscall"
)

// A Kernel makes sockets in memory, beside the machine's kernel: it is one host of a simulated
// network (internal/simnet). Its descriptors are virtual. The functions of calls.go take them like
// any other: so package sock, and what is above it, does not distinguish the two.
type Kernel interface {
	// Socket is socket(2), for SOCK_STREAM and SOCK_DGRAM of AF_INET, AF_INET6 and AF_UNIX.
	Socket(family, typ int) (FD, syscall.Errno)
}

// A VirtualSocket is the open socket that one or more virtual descriptors refer to. Its methods are
// the calls of their names, on a non-blocking socket, with the results that Linux gives where
// systems differ. They never wait, and may be called from any goroutine.
type VirtualSocket interface {
	Bind(a Sockaddr) syscall.Errno
	Listen(backlog int) syscall.Errno
	Accept() (FD, Sockaddr, syscall.Errno)
	Connect(to Sockaddr) syscall.Errno
	Shutdown(how int) syscall.Errno

	// Recv is recvmsg(2) on a stream: it fills the buffers in order. flags is 0, MSG_PEEK or MSG_OOB.
	Recv(bufs [][]byte, flags int) (int, syscall.Errno)
	// Send is sendmsg(2) to the peer: on a stream, of as much as there is space for; on a datagram
	// socket, of one datagram. flags is 0 or MSG_OOB.
	Send(bufs [][]byte, flags int) (int, syscall.Errno)
	RecvFrom(b []byte) (n int, truncated bool, from Sockaddr, e syscall.Errno)
	SendTo(b []byte, to Sockaddr) (int, syscall.Errno)

	LocalAddr() (Sockaddr, syscall.Errno)
	PeerAddr() (Sockaddr, syscall.Errno)
	SetInt(level, option, value int) syscall.Errno
	GetInt(level, option int) (int, syscall.Errno)
	SetLinger(on bool, seconds int) syscall.Errno
	SetMembership(group netip.Addr, ifindex int, join bool) syscall.Errno
	// SocketError returns and clears the pending error (SO_ERROR).
	SocketError() syscall.Errno
	// UnreadBytes is FIONREAD: what a stream holds, or the length of the next datagram.
	UnreadBytes() (n int, known bool)
	UnackedBytes() (n int, known bool)

	// Dup returns another descriptor of the socket, by AddVirtual.
	Dup() (FD, syscall.Errno)
	// Close closes one descriptor, by RemoveVirtual; that of the last closes the socket.
	Close(fd FD) syscall.Errno
	// NetConn returns a net.Conn, for a stream or datagram socket, that owns a descriptor of the socket.
	NetConn() (net.Conn, syscall.Errno)
}

// firstVirtual is the lowest virtual descriptor. The machine's kernels do not have such numbers: on
// Linux the largest possible is a little less (fs.nr_open, proc_sys_fs(5)).
const firstVirtual FD = 1 << 30

// virtuals has the sockets by descriptor, less firstVirtual.
var virtuals struct {
	sync.RWMutex
	sockets []VirtualSocket // nil: free
	free    []FD            // indexes; the one freed last is used next
}

// IsVirtual reports whether fd is the number of a virtual descriptor, open or closed.
func IsVirtual(fd FD) bool { return fd >= firstVirtual && fd != InvalidFD }

// AddVirtual returns a new descriptor of s. As in a kernel, numbers are used again soon: code that
// uses one after its Close meets another socket.
func AddVirtual(s VirtualSocket) FD {
	virtuals.Lock()
	defer virtuals.Unlock()
	if n := len(virtuals.free); n > 0 {
		i := virtuals.free[n-1]
		virtuals.free = virtuals.free[:n-1]
		virtuals.sockets[i] = s
		return firstVirtual + i
	}
	virtuals.sockets = append(virtuals.sockets, s)
	return firstVirtual + FD(len(virtuals.sockets)-1)
}

// RemoveVirtual frees the descriptor. It reports whether fd was one of s.
func RemoveVirtual(fd FD, s VirtualSocket) bool {
	virtuals.Lock()
	defer virtuals.Unlock()
	if virtualLocked(fd) != s {
		return false
	}
	virtuals.sockets[fd-firstVirtual] = nil
	virtuals.free = append(virtuals.free, fd-firstVirtual)
	return true
}

// Virtual returns the socket of an open virtual descriptor, or nil if fd is not one.
func Virtual(fd FD) VirtualSocket { return virtual(fd) }

// virtual is Virtual, short enough to be inlined.
func virtual(fd FD) VirtualSocket {
	if fd < firstVirtual {
		return nil
	}
	return lookUpVirtual(fd)
}

func lookUpVirtual(fd FD) VirtualSocket {
	virtuals.RLock()
	defer virtuals.RUnlock()
	return virtualLocked(fd)
}

func virtualLocked(fd FD) VirtualSocket {
	if !IsVirtual(fd) || fd-firstVirtual >= FD(len(virtuals.sockets)) {
		return nil
	}
	return virtuals.sockets[fd-firstVirtual]
}
