package uring

import (
	"os"

	"github.com/pollux-io/pollux/internal/sys"
)

// pool is the buffers that the kernel receives into. A buffer belongs to the kernel, or is being
// delivered, or is held for a stream that cannot take it yet. The number of held buffers is
// bounded, because a stream with held buffers does not receive.
type pool struct {
	*sys.URingBuffers
	next, size []int32 // of held buffers: the next one in the queue, and the bytes in it
	held       int
	given      bool // buffers were given since the last publish
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

// available returns how many buffers the kernel has after the next publish.
func (p *pool) available() int { return p.Len() - p.held }

// crowded reports whether so many buffers are held that paused streams must spill theirs.
func (p *pool) crowded() bool { return p.held > p.Len()/2 }

// queue is the buffers held for a stream, in order of arrival.
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

// take removes the first buffer from the queue.
func (p *pool) take(q *queue) (id uint16, b []byte) {
	id = uint16(q.first)
	if q.first = p.next[id]; q.empty() {
		q.last = noBuffer
	}
	p.held--
	return id, p.Get(id, int(p.size[id]))
}
