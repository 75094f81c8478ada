// Package stripes has a counter for events so frequent that goroutines on several processors, counting in
// one word, would spend more time on passing its cache line around than on what they count.
package stripes

import (
	"math/rand/v2"
	"sync/atomic"
)

// stripes is how many words a Counter has. A power of two.
const stripes = 16

// A Counter counts events. Its methods may be called from any goroutine; the zero Counter is 0. It takes 2 KiB: Inc
// picks one of the words at random.
type Counter struct {
	words [stripes]struct {
		n atomic.Uint64
		_ [128 - 8]byte // no words on one cache line, nor on two that are prefetched together
	}
}

// Inc adds 1.
func (c *Counter) Inc() { c.words[rand.Uint32()%stripes].n.Add(1) }

// Load returns how often Inc was called.
func (c *Counter) Load() (n uint64) {
	for i := range c.words {
		n += c.words[i].n.Load()
	}
	return n
}
