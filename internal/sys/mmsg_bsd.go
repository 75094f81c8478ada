//go:build darwin || freebsd || netbsd || openbsd || dragonfly || solaris

package sys

import "syscall"

// MaxBatch is how many datagrams one call of RecvMMsg or SendMMsg moves.
const MaxBatch = 64

type message struct {
	data      []byte
	addr      Sockaddr
	connected bool // goes to the connected peer
	n         int
	truncated bool
}

// Batch is the argument of RecvMMsg and SendMMsg, which make one call for each
// datagram: most of these systems have no more. It may be used again.
type Batch struct{ m [MaxBatch]message }

// Set puts a buffer at place i. With an address the datagram goes there; without
// one it goes to the connected peer.
func (b *Batch) Set(i int, p []byte, to *Sockaddr) {
	m := &b.m[i]
	m.data, m.connected = p, to == nil
	if to != nil {
		m.addr = *to
	}
}

// Result returns what was received at place i.
func (b *Batch) Result(i int) (n int, truncated bool, from *Sockaddr) {
	m := &b.m[i]
	return m.n, m.truncated, &m.addr
}

// Clear drops the pointers to the caller's buffers in the first n places.
func (b *Batch) Clear(n int) {
	for i := range n {
		b.m[i].data = nil
	}
}

// RecvMMsg receives datagrams into the first n places; it returns how many.
func RecvMMsg(fd FD, b *Batch, n int) (int, syscall.Errno) {
	for i := range n {
		m := &b.m[i]
		var e syscall.Errno
		m.n, m.truncated, e = RecvFrom(fd, m.data, &m.addr)
		if e != 0 {
			return i, unlessSome(i, e)
		}
	}
	return n, 0
}

// SendMMsg sends the places from first up to end; it returns how many the kernel
// took. It stops at a datagram that fails; the error comes with the next call.
func SendMMsg(fd FD, b *Batch, first, end int) (int, syscall.Errno) {
	for i := first; i < end; i++ {
		m := &b.m[i]
		var e syscall.Errno
		if m.connected {
			_, e = Send(fd, m.data, 0)
		} else {
			_, e = SendTo(fd, m.data, &m.addr)
		}
		if e != 0 {
			return i - first, unlessSome(i-first, e)
		}
	}
	return end - first, 0
}

// unlessSome drops the error of a call that moved n datagrams before it: what
// failed for good fails again.
func unlessSome(n int, e syscall.Errno) syscall.Errno {
	if n > 0 {
		return 0
	}
	return e
}
