// Package unread is a buffer of received bytes that their reader has not consumed yet.
package unread

import (
	"fmt"

	"github.com/pollux-io/pollux/internal/block"
)

// A Buffer has the unread bytes of one connection, in one block, so that they are one slice. It
// must be used by one goroutine at a time. Its size has no limit of its own: the caller stops
// receiving.
type Buffer struct {
	blocks *block.Pool
	block  []byte
	lo, hi int // the unread part of block
}

// New returns an empty buffer that takes its blocks from the given pool.
func New(blocks *block.Pool) *Buffer { return &Buffer{blocks: blocks} }

// Len returns the number of unread bytes.
func (u *Buffer) Len() int { return u.hi - u.lo }

// Bytes returns the unread bytes, valid until the next Append or Free.
func (u *Buffer) Bytes() []byte { return u.block[u.lo:u.hi] }

// Append adds a copy of b.
func (u *Buffer) Append(b []byte) {
	if len(b) > len(u.block)-u.hi {
		u.makeSpace(len(b))
	}
	u.hi += copy(u.block[u.hi:], b)
}

// makeSpace moves the unread bytes to the beginning of the block, or of a larger one if that has
// not enough space for n bytes after them. A larger block has at least twice the unread bytes, so
// that a byte is copied a bounded number of times while the buffer grows.
func (u *Buffer) makeSpace(n int) {
	unread := u.Bytes()
	if len(unread)+n <= len(u.block) {
		copy(u.block, unread)
	} else {
		bigger := u.blocks.Get(max(len(unread)+n, 2*len(unread)))
		copy(bigger, unread)
		u.release()
		u.block = bigger
	}
	u.lo, u.hi = 0, len(unread)
}

// Consume removes the first n bytes.
func (u *Buffer) Consume(n int) {
	if n < 0 || n > u.Len() {
		panic(fmt.Sprintf("unread: %d bytes consumed, of %d", n, u.Len()))
	}
	u.lo += n
}

// Free drops what is unread, and returns the block to the pool. The buffer is empty then.
func (u *Buffer) Free() {
	u.release()
	u.block, u.lo, u.hi = nil, 0, 0
}

func (u *Buffer) release() {
	if u.block != nil {
		u.blocks.Put(u.block)
	}
}
