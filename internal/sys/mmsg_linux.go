package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MaxBatch is the maximum number of datagrams of one RecvMMsg or SendMMsg.
const MaxBatch = 64

type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// Batch is the argument of RecvMMsg and SendMMsg. It may be reused.
type Batch struct {
	h    [MaxBatch]mmsghdr
	iov  [MaxBatch]unix.Iovec
	addr [MaxBatch]Sockaddr
}

// Set sets buffer i. A datagram to send goes to the address, or without one to the
// connected peer.
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

// Result returns the result of receiving into buffer i.
func (b *Batch) Result(i int) (n int, truncated bool, from *Sockaddr) {
	h := &b.h[i]
	b.addr[i].Len = h.hdr.Namelen
	return int(h.len), h.hdr.Flags&unix.MSG_TRUNC != 0, &b.addr[i]
}

// What calls.go needs for a virtual socket, of buffer i.
func (b *Batch) buffer(i int) []byte { return unsafe.Slice(b.iov[i].Base, int(b.iov[i].Len)) }

func (b *Batch) destination(i int) *Sockaddr {
	if b.h[i].hdr.Name == nil {
		return nil
	}
	return &b.addr[i]
}

func (b *Batch) setResult(i, n int, truncated bool, from *Sockaddr) {
	h := &b.h[i]
	h.len, h.hdr.Flags, h.hdr.Namelen = uint32(n), 0, from.Len
	if truncated {
		h.hdr.Flags = unix.MSG_TRUNC
	}
	b.addr[i] = *from
}

// Clear drops the pointers to the first n buffers.
func (b *Batch) Clear(n int) {
	for i := range n {
		b.iov[i].Base = nil
	}
}

// osRecvMMsg receives datagrams into the first n buffers and returns how many.
func osRecvMMsg(fd FD, b *Batch, n int) (int, syscall.Errno) {
	for i := range n {
		h := &b.h[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&b.addr[i].raw))
		h.Namelen = SockaddrSize
		h.Flags = 0
	}
	return call(unix.SYS_RECVMMSG, 0, fd, unsafe.Pointer(&b.h), uintptr(n), recvFlags, nil, 0)
}

// osSendMMsg sends the buffers from first up to end and returns how many the kernel
// accepted. It stops at a datagram that fails; the next call returns the error.
func osSendMMsg(fd FD, b *Batch, first, end int) (int, syscall.Errno) {
	return call(unix.SYS_SENDMMSG, 0, fd, unsafe.Pointer(&b.h[first]), uintptr(end-first), sendFlags, nil, 0)
}
