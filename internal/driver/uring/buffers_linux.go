package uring

import (
	"os"

	"github.com/pollux-io/pollux/internal/sys"
)

// pool is the buffers that the kernel receives into. A buffer is the kernel's, or
// it is being handed over, or it is held for a stream that may not have it yet. What
// is held bounds itself: a stream that something is held for does not receive.
type pool struct {
	*sys.URingBuffers
	next, size []int32 // of held buffers: which comes after, and how much is in it
	held       int
	given      bool // since publish
}

const noBuffer = -1

func (p *pool) open(ring *sys.URing, n, size int) error {
	b, e := ring.RegisterBuffers(bufferGroup, n, size)
	if e != 0 {
		return os.NewSyscallError("io_uring_register of buffers", e)
	}
	p.URingBuffers, p.next, p.size = b, make([]int32, n), make([]int32, n)
	return nil
}

func (p *pool) free() { p.URingBuffers.Free() }

func (p *pool) give(id uint16) {
	p.Give(id)
	p.given = true
}

func (p *pool) publish() {
	if p.given {
		p.Publish()
		p.given = false
	}
}

// available is how many buffers the kernel has once what was given is published.
func (p *pool) available() int { return p.Len() - p.held }

// crowded: so many are held that those which stay must go elsewhere.
func (p *pool) crowded() bool { return p.held > p.Len()/2 }

// queue is the buffers held for a stream, in order.
type queue struct{ first, last int32 }

var noQueue = queue{noBuffer, noBuffer}

func (q *queue) empty() bool { return q.first == noBuffer }

func (p *pool) hold(q *queue, id uint16, n int) {
	p.next[id], p.size[id] = noBuffer, int32(n)
	if q.empty() {
		q.first = int32(id)
	} else {
		p.next[q.last] = int32(id)
	}
	q.last = int32(id)
	p.held++
}

// take takes the first buffer off the queue.
func (p *pool) take(q *queue) (id uint16, b []byte) {
	id = uint16(q.first)
	if q.first = p.next[id]; q.empty() {
		q.last = noBuffer
	}
	p.held--
	return id, p.Get(id, int(p.size[id]))
}
