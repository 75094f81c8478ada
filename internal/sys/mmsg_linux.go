package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MaxBatch is how many datagrams one call of RecvMMsg or SendMMsg moves.
const MaxBatch = 64

type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// Batch is the argument of RecvMMsg and SendMMsg. It may be used again.
type Batch struct {
	h    [MaxBatch]mmsghdr
	iov  [MaxBatch]unix.Iovec
	addr [MaxBatch]Sockaddr
}

// Set puts a buffer at place i. With an address the datagram goes there; without
// one it goes to the connected peer.
func (b *Batch) Set(i int, p []byte, to *Sockaddr) {
	b.iov[i].Base = unsafe.SliceData(p)
	b.iov[i].SetLen(len(p))
	h := &b.h[i].hdr
	h.Iov = &b.iov[i]
	h.SetIovlen(1)
	h.Name, h.Namelen = nil, 0
	if to != nil {
		b.addr[i] = *to
		h.Name = (*byte)(unsafe.Pointer(&b.addr[i].raw))
		h.Namelen = to.Len
	}
}

// Result returns what was received at place i.
func (b *Batch) Result(i int) (n int, truncated bool, from *Sockaddr) {
	h := &b.h[i]
	b.addr[i].Len = h.hdr.Namelen
	return int(h.len), h.hdr.Flags&unix.MSG_TRUNC != 0, &b.addr[i]
}

// Clear drops the pointers to the caller's buffers in the first n places.
func (b *Batch) Clear(n int) {
	for i := range n {
		b.iov[i].Base = nil
	}
}

// RecvMMsg receives datagrams into the first n places; it returns how many.
func RecvMMsg(fd FD, b *Batch, n int) (int, syscall.Errno) {
	for i := range n {
		h := &b.h[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&b.addr[i].raw))
		h.Namelen = SockaddrSize
		h.Flags = 0
	}
	return call(unix.SYS_RECVMMSG, 0, fd, unsafe.Pointer(&b.h), uintptr(n), recvFlags, nil, 0)
}

// SendMMsg sends the places from first up to end; it returns how many the kernel
// took. It stops at a datagram that fails; the error comes with the next call.
func SendMMsg(fd FD, b *Batch, first, end int) (int, syscall.Errno) {
	return call(unix.SYS_SENDMMSG, 0, fd, unsafe.Pointer(&b.h[first]), uintptr(end-first), sendFlags, nil, 0)
}
