package driver

import "testing"

func TestPages(t *testing.T) {
	const n = 3*pageLen + 7
	var p Pages[uint32]
	for i := range uint32(n) {
		if at := p.Append(i); at != i || p.Len() != i+1 {
			t.Fatalf("Append of entry %d returned index %d, Len is %d", i, at, p.Len())
		}
	}
	first := p.At(0)
	for i := range uint32(n) {
		if *p.At(i) != i {
			t.Fatalf("entry %d is %d", i, *p.At(i))
		}
	}
	for i := p.Len(); i > 0; i = p.Len() {
		p.RemoveLast()
		if pages := uint32(len(p.pages)); pages < (i-1+pageLen-1)/pageLen || pages > (i-1)/pageLen+2 {
			t.Fatalf("%d pages for %d entries", pages, i-1)
		}
	}
	for range 2 * pageLen { // across page boundaries
		p.Append(1)
	}
	if first != p.At(0) {
		t.Error("entry 0 has moved")
	}
	if avg := testing.AllocsPerRun(100, func() { p.RemoveLast(); p.Append(1); p.Append(1); p.RemoveLast() }); avg != 0 {
		t.Errorf("%v allocations at a page boundary", avg)
	}
	p.RemoveLast()
	if p.Append(0); *p.At(p.Len() - 1) != 0 {
		t.Error("a removed entry is still there")
	}
}
