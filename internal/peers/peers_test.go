package peers

import (
	"net/netip"
	"sync"
	"testing"
)

func addr(port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), uint16(port))
}

// The last Max connections are known, and no others.
func TestRecent(t *testing.T) {
	var r Recent
	if a := r.Lookup(1); a.IsValid() {
		t.Errorf("an empty Recent has the address %v", a)
	}
	for id := 1; id <= 3*Max; id++ {
		r.Add(uintptr(id), addr(id))
		for old := 1; old <= id; old++ {
			want := addr(old)
			if old <= id-Max {
				want = netip.AddrPort{}
			}
			if got := r.Lookup(uintptr(old)); got != want {
				t.Fatalf("after %d connections, the address of number %d is %v, want %v", id, old, got, want)
			}
		}
	}
}

// A connection with the id of an earlier one replaces it, even if its address is not known.
func TestSameID(t *testing.T) {
	for _, before := range []int{0, 1, Max - 3} { // to wrap around in between, too
		var r Recent
		for i := range before {
			r.Add(uintptr(100+i), addr(i))
		}
		for _, want := range []netip.AddrPort{addr(1), addr(2), {}, addr(3)} {
			r.Add(7, want)
			r.Add(8, addr(9))
			if got := r.Lookup(7); got != want {
				t.Errorf("with %d connections before: the address is %v, want that of the last connection, %v", before, got, want)
			}
		}
	}
}

// The latest one counts, even if the oldest that is remembered has the same id.
func TestSameIDAsTheOldest(t *testing.T) {
	var r Recent
	r.Add(7, addr(1))
	for i := range Max - 2 {
		r.Add(uintptr(100+i), addr(i))
	}
	r.Add(7, addr(2))
	if got := r.Lookup(7); got != addr(2) {
		t.Errorf("the address is %v, want that of the last connection, %v", got, addr(2))
	}
}

func TestConcurrentUse(t *testing.T) {
	var r Recent
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			id := uintptr(1 + n)
			for i := range 1000 {
				r.Add(id, addr(n))
				if a := r.Lookup(id); a.IsValid() && a != addr(n) {
					t.Errorf("round %d: the address is %v, want %v", i, a, addr(n))
				}
			}
		})
	}
	all.Wait()
}
