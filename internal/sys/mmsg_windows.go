package sys

import "syscall"

// MaxBatch is the maximum number of datagrams of one RecvMMsg or SendMMsg.
const MaxBatch = 64

// Batch is the argument of RecvMMsg and SendMMsg. It may be reused. Windows transfers one
// datagram per call.
type Batch struct {
	data      [MaxBatch][]byte
	n         [MaxBatch]int
	truncated [MaxBatch]bool
	toPeer    [MaxBatch]bool
	addr      [MaxBatch]Sockaddr
}

// Set sets buffer i. A datagram to send goes to the address, or without one to the
// connected peer.
func (b *Batch) Set(i int, p []byte, to *Sockaddr) {
	b.data[i] = p
	if b.toPeer[i] = to == nil; to != nil {
		b.addr[i] = *to
	}
}

// Result returns the result of receiving into buffer i.
func (b *Batch) Result(i int) (n int, truncated bool, from *Sockaddr) {
	return b.n[i], b.truncated[i], &b.addr[i]
}

// What calls.go needs for a virtual socket, of buffer i.
func (b *Batch) buffer(i int) []byte { return b.data[i] }

func (b *Batch) destination(i int) *Sockaddr {
	if b.toPeer[i] {
		return nil
	}
	return &b.addr[i]
}

func (b *Batch) setResult(i, n int, truncated bool, from *Sockaddr) {
	b.n[i], b.truncated[i], b.addr[i] = n, truncated, *from
}

// Clear drops the pointers to the first n buffers.
func (b *Batch) Clear(n int) { clear(b.data[:n]) }

// osRecvMMsg receives datagrams into the first n buffers and returns how many. It returns an
// error only if there are none; an error after the last datagram is left to the next call.
func osRecvMMsg(fd FD, b *Batch, n int) (int, syscall.Errno) {
	for i := range n {
		var e syscall.Errno
		if b.n[i], b.truncated[i], e = osRecvFrom(fd, b.data[i], &b.addr[i]); e != 0 {
			if i > 0 {
				e = 0
			}
			return i, e
		}
	}
	return n, 0
}

// osSendMMsg sends the buffers from first up to end and returns how many the kernel
// accepted. It stops at a datagram that fails; the next call returns the error.
func osSendMMsg(fd FD, b *Batch, first, end int) (int, syscall.Errno) {
	for i := first; i < end; i++ {
		var e syscall.Errno
		if b.toPeer[i] {
			_, e = osSend(fd, b.data[i], 0)
		} else {
			_, e = osSendTo(fd, b.data[i], &b.addr[i])
		}
		if e != 0 {
			if i > first {
				e = 0
			}
			return i - first, e
		}
	}
	return end - first, 0
}
