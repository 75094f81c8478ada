package stripes

import (
	"sync"
	"testing"
	"unsafe"
)

// No event is lost, whichever goroutines count it.
func TestConcurrent(t *testing.T) {
	const goroutines, each = 8, 10_000
	var c Counter
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for range each {
				c.Inc()
			}
		})
	}
	all.Wait()
	if n := c.Load(); n != goroutines*each {
		t.Errorf("%d, want %d", n, goroutines*each)
	}
}

// Events are spread over all words, which do not share cache lines.
func TestSpread(t *testing.T) {
	var c Counter
	for range 64 * stripes {
		c.Inc()
	}
	for i := range c.words {
		if c.words[i].n.Load() == 0 { // probability: 16·(15/16)^1024 < 10⁻²⁷
			t.Errorf("word %d is not used", i)
		}
	}
	if size := unsafe.Sizeof(c.words[0]); size != 128 {
		t.Errorf("a word takes %d bytes, want 128", size)
	}
}

func BenchmarkInc(b *testing.B) {
	var c Counter
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Inc()
		}
	})
}
