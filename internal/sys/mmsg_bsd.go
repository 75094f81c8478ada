//go:build darwin || freebsd || netbsd || openbsd || dragonfly || solaris

package sys

import "syscall"

// MaxBatch is the maximum number of datagrams of one RecvMMsg or SendMMsg.
const MaxBatch = 64

type message struct {
	data      []byte
	addr      Sockaddr
	connected bool // send to the connected peer
	n         int
	truncated bool
}

// Batch is the argument of RecvMMsg and SendMMsg. It may be reused. They make one call per
// datagram, because most of these systems have no batch calls.
type Batch struct{ m [MaxBatch]message }

// Set sets buffer i. A datagram to send goes to the address, or without one to the
// connected peer.
func (b *Batch) Set(i int, p []byte, to *Sockaddr) {
	m := &b.m[i]
	m.data, m.connected = p, to == nil
	if to != nil {
		m.addr = *to
	}
}

// Result returns the result of receiving into buffer i.
func (b *Batch) Result(i int) (n int, truncated bool, from *Sockaddr) {
	m := &b.m[i]
	return m.n, m.truncated, &m.addr
}

// What calls.go needs for a virtual socket, of buffer i.
func (b *Batch) buffer(i int) []byte { return b.m[i].data }

func (b *Batch) destination(i int) *Sockaddr {
	if b.m[i].connected {
		return nil
	}
	return &b.m[i].addr
}

func (b *Batch) setResult(i, n int, truncated bool, from *Sockaddr) {
	b.m[i].n, b.m[i].truncated, b.m[i].addr = n, truncated, *from
}

// Clear drops the pointers to the first n buffers.
func (b *Batch) Clear(n int) {
	for i := range n {
		b.m[i].data = nil
	}
}

// osRecvMMsg receives datagrams into the first n buffers and returns how many.
func osRecvMMsg(fd FD, b *Batch, n int) (int, syscall.Errno) {
	for i := range n {
		m := &b.m[i]
		var e syscall.Errno
		m.n, m.truncated, e = osRecvFrom(fd, m.data, &m.addr)
		if e != 0 {
			return i, errorIfNone(i, e)
		}
	}
	return n, 0
}

// osSendMMsg sends the buffers from first up to end and returns how many the kernel
// accepted. It stops at a datagram that fails; the next call returns the error.
func osSendMMsg(fd FD, b *Batch, first, end int) (int, syscall.Errno) {
	for i := first; i < end; i++ {
		m := &b.m[i]
		var e syscall.Errno
		if m.connected {
			_, e = osSend(fd, m.data, 0)
		} else {
			_, e = osSendTo(fd, m.data, &m.addr)
		}
		if e != 0 {
			return i - first, errorIfNone(i-first, e)
		}
	}
	return end - first, 0
}
