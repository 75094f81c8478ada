// Package block is a pool of buffers of a few sizes. A loop's connections get buffers from
// its pool while they have bytes to keep, and put them back as soon as they have none.
//
// It does not know who has a block, or what is in it: a block has one owner, who must not use
// it after Put. internal/sendqueue and internal/unread are made of blocks.
package block

import (
	"math/bits"
	"sync"
)

const (
	minBits = 9  // 512 bytes
	maxBits = 19 // 512 KiB
	classes = (maxBits-minBits)/2 + 1
)

// MaxBytes is the size of the largest blocks that the pool keeps; larger blocks are left
// to the garbage collector.
const MaxBytes = 512 << (2 * (classes - 1))

// Pool is a pool of blocks of 512 bytes, 2, 8, 32, 128 and 512 KiB. It may be used from
// any goroutine.
type Pool struct {
	mu        sync.Mutex
	free      [classes][][]byte
	maxIdle   int
	idleBytes int
	outBytes  int
	outBlocks int
}

// NewPool returns a pool that keeps up to maxIdleBytes of unused blocks.
func NewPool(maxIdleBytes int) *Pool { return &Pool{maxIdle: maxIdleBytes} }

func class(n int) int {
	if n <= 1<<minBits {
		return 0
	}
	return (bits.Len(uint(n-1)) - minBits + 1) / 2
}

// Get returns a block of at least n bytes. Its contents are undefined.
func (p *Pool) Get(n int) []byte {
	c := class(n)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outBlocks++
	if c >= classes {
		p.outBytes += n
		return make([]byte, n)
	}
	size := 1 << (minBits + 2*c)
	p.outBytes += size
	if k := len(p.free[c]); k > 0 {
		b := p.free[c][k-1]
		p.free[c] = p.free[c][:k-1]
		p.idleBytes -= size
		return b
	}
	return make([]byte, size)
}

// Put returns a block from Get to the pool. b must have its full length.
func (p *Pool) Put(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outBlocks--
	p.outBytes -= len(b)
	c := class(len(b))
	if c >= classes || p.idleBytes+len(b) > p.maxIdle {
		return
	}
	p.idleBytes += len(b)
	p.free[c] = append(p.free[c], b)
}

// Stats has the number of blocks in use, their bytes, and the bytes of unused blocks.
type Stats struct {
	OutBlocks, OutBytes, IdleBytes, MaxIdleBytes int
}

// Stats returns the current figures.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{p.outBlocks, p.outBytes, p.idleBytes, p.maxIdle}
}
