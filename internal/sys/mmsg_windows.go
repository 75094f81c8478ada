package sys

import "syscall"

// MaxBatch is how many datagrams one call of RecvMMsg or SendMMsg moves.
const MaxBatch = 64

// Batch is the argument of RecvMMsg and SendMMsg. It may be used again. Windows
// moves one datagram a call.
type Batch struct {
	data      [MaxBatch][]byte
	n         [MaxBatch]int
	truncated [MaxBatch]bool
	toPeer    [MaxBatch]bool
	addr      [MaxBatch]Sockaddr
}

// Set puts a buffer at place i. With an address the datagram goes there; without
// one it goes to the connected peer.
func (b *Batch) Set(i int, p []byte, to *Sockaddr) {
	b.data[i] = p
	if b.toPeer[i] = to == nil; to != nil {
		b.addr[i] = *to
	}
}

// Result returns what was received at place i.
func (b *Batch) Result(i int) (n int, truncated bool, from *Sockaddr) {
	return b.n[i], b.truncated[i], &b.addr[i]
}

// Clear drops the pointers to the caller's buffers in the first n places.
func (b *Batch) Clear(n int) { clear(b.data[:n]) }

// RecvMMsg receives datagrams into the first n places; it returns how many. An
// error comes only when there are none: what follows the last is left for the
// next call.
func RecvMMsg(fd FD, b *Batch, n int) (int, syscall.Errno) {
	for i := range n {
		var e syscall.Errno
		if b.n[i], b.truncated[i], e = RecvFrom(fd, b.data[i], &b.addr[i]); e != 0 {
			if i > 0 {
				e = 0
			}
			return i, e
		}
	}
	return n, 0
}

// SendMMsg sends the places from first up to end; it returns how many the kernel
// took. It stops at a datagram that fails; the error comes with the next call.
func SendMMsg(fd FD, b *Batch, first, end int) (int, syscall.Errno) {
	for i := first; i < end; i++ {
		var e syscall.Errno
		if b.toPeer[i] {
			_, e = Send(fd, b.data[i], 0)
		} else {
			_, e = SendTo(fd, b.data[i], &b.addr[i])
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
