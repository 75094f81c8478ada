package block

import "testing"

func TestSizesAndStats(t *testing.T) {
	p := NewPool(100 << 10)
	for n, want := range map[int]int{
		1: 512, 512: 512, 513: 2048, 2049: 8192, 8193: 32 << 10, 100_000: 128 << 10,
		MaxBytes: MaxBytes, MaxBytes + 1: MaxBytes + 1,
	} {
		b := p.Get(n)
		if len(b) != want {
			t.Errorf("Get(%d) has %d bytes, want %d", n, len(b), want)
		}
		if s := p.Stats(); s.OutBlocks != 1 || s.OutBytes != want {
			t.Errorf("with %d bytes in use: %+v", want, s)
		}
		p.Put(b)
		if s := p.Stats(); s.OutBlocks != 0 || s.OutBytes != 0 || s.IdleBytes > s.MaxIdleBytes {
			t.Errorf("with nothing in use: %+v", s)
		}
	}
}

func TestBlocksAreReusedUpToMaxIdle(t *testing.T) {
	p := NewPool(3 * 512)
	var all [][]byte
	for range 5 {
		all = append(all, p.Get(10))
	}
	for _, b := range all {
		p.Put(b)
	}
	if s := p.Stats(); s.IdleBytes != 3*512 {
		t.Errorf("%d bytes are kept, want the limit of %d", s.IdleBytes, 3*512)
	}
	if n := testing.AllocsPerRun(100, func() { p.Put(p.Get(100)) }); n != 0 {
		t.Errorf("%v allocations with blocks in the pool", n)
	}
}
