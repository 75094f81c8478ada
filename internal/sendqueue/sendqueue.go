// Package sendqueue is a queue of bytes to be sent, in order: copies, in blocks of a pool, slices
// that belong to the caller until they have been sent, and memory that many queues share. It knows nothing of sockets: the
// caller sends what Gather returns, and calls Consume with the number of bytes that the kernel
// has taken.
package sendqueue

import (
	"fmt"
	"sync"

	"github.com/pollux-io/pollux/internal/block"
)

// maxBlock is the size of the largest block that a queue uses: a longer slice is copied into
// several.
const maxBlock = 128 << 10

// A Queue is a queue of unsent bytes. It must be used by one goroutine at a time.
type Queue struct {
	blocks *block.Pool
	chunks []chunk // those before head are consumed
	head   int
	bytes  int // in all chunks
}

type chunk struct {
	block []byte // of the pool; nil if the bytes are the caller's
	b     []byte // the unsent part; if there is a block, cap(b) ends where the block ends
	done  func(error)
	// shared is the memory of b, to be released; nil if b is in the block or the caller's.
	shared *Shared
}

// A Done is a call that is due: of AppendOwned's done, Func(Err), or, if that is nil, of the
// function of a Shared, Freed().
type Done struct {
	Func  func(error)
	Err   error
	Freed func()
}

var queues = sync.Pool{New: func() any { return new(Queue) }}

// Get returns an empty queue that takes its blocks from the given pool. Its memory is reused
// after Put.
func Get(blocks *block.Pool) *Queue {
	q := queues.Get().(*Queue)
	q.blocks = blocks
	return q
}

// Put releases an empty queue. It must not be used any more.
func (q *Queue) Put() {
	if !q.Empty() {
		panic(fmt.Sprintf("sendqueue: Put of a queue with %d bytes in %d chunks", q.bytes, len(q.chunks)-q.head))
	}
	q.blocks = nil
	queues.Put(q)
}

// Len returns the number of unsent bytes.
func (q *Queue) Len() int { return q.bytes }

// Empty reports whether nothing is queued. A queue of length 0 may have an empty slice of
// AppendOwned, whose done is not due yet.
func (q *Queue) Empty() bool { return q.head == len(q.chunks) }

// Append adds a copy of b.
func (q *Queue) Append(b []byte) {
	q.bytes += len(b)
	b = b[q.fillLast(b):]
	for len(b) > 0 {
		block := q.blocks.Get(min(len(b), maxBlock))
		n := copy(block, b)
		q.push(chunk{block: block, b: block[:n:len(block)]})
		b = b[n:]
	}
}

// AppendOwned adds b itself, which must not change until done is due: when all of b, which may
// be empty, and everything before it has been consumed or dropped. done may be nil.
func (q *Queue) AppendOwned(b []byte, done func(error)) {
	q.bytes += len(b)
	q.push(chunk{b: b, done: done})
}

// fillLast copies the beginning of b to the free part of the last block, and returns how many
// bytes that were.
func (q *Queue) fillLast(b []byte) int {
	if q.Empty() {
		return 0
	}
	last := &q.chunks[len(q.chunks)-1]
	if last.block == nil {
		return 0
	}
	n := min(cap(last.b)-len(last.b), len(b))
	last.b = append(last.b, b[:n]...)
	return n
}

// push adds a chunk. The places of consumed chunks are reused before the slice grows, once they
// are at least half of it: so a queue that never becomes empty does not grow without bound, and
// a chunk is moved at most once on average.
func (q *Queue) push(x chunk) {
	if len(q.chunks) == cap(q.chunks) && q.head > 0 && q.head >= len(q.chunks)-q.head {
		n := copy(q.chunks, q.chunks[q.head:])
		clear(q.chunks[n:])
		q.chunks, q.head = q.chunks[:n], 0
	}
	q.chunks = append(q.chunks, x)
}

// Gather appends the unsent slices to bufs, in order, up to its capacity, and returns how many
// bytes it has added. The slices are valid until they are consumed or dropped.
func (q *Queue) Gather(bufs [][]byte) (_ [][]byte, total int) {
	for i := q.head; i < len(q.chunks) && len(bufs) < cap(bufs); i++ {
		bufs = append(bufs, q.chunks[i].b)
		total += len(q.chunks[i].b)
	}
	return bufs, total
}

// Consume removes the first n bytes, which have been sent, and the empty slices after them. It
// appends the calls that are due, those of done with a nil error, to due.
func (q *Queue) Consume(n int, due []Done) []Done {
	if n < 0 || n > q.bytes {
		panic(fmt.Sprintf("sendqueue: %d bytes consumed, of %d", n, q.bytes))
	}
	q.bytes -= n
	for !q.Empty() {
		x := &q.chunks[q.head]
		if n < len(x.b) {
			x.b = x.b[n:]
			return due
		}
		n -= len(x.b)
		due = q.pop(nil, due)
	}
	q.reset(n)
	return due
}

// Drop removes everything. It appends the calls that are due, those of done with err, to due.
func (q *Queue) Drop(err error, due []Done) []Done {
	for !q.Empty() {
		q.bytes -= len(q.chunks[q.head].b)
		due = q.pop(err, due)
	}
	q.reset(0)
	return due
}

// pop removes the first chunk, and appends the calls that are due then, if any, to due.
func (q *Queue) pop(err error, due []Done) []Done {
	x := &q.chunks[q.head]
	if x.block != nil {
		q.blocks.Put(x.block)
	}
	if x.done != nil {
		due = append(due, Done{Func: x.done, Err: err})
	}
	if x.shared != nil && x.shared.Release() {
		due = append(due, Done{Freed: x.shared.freed})
	}
	*x = chunk{}
	q.head++
	return due
}

// reset makes all places of an empty queue free. rest is how many bytes are still to be
// consumed: none, or the count of bytes is wrong.
func (q *Queue) reset(rest int) {
	if q.bytes != 0 || rest != 0 {
		panic(fmt.Sprintf("sendqueue: an empty queue counts %d bytes, and %d are to be consumed", q.bytes, rest))
	}
	q.chunks, q.head = q.chunks[:0], 0
}
