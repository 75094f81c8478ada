package driver

import "testing"

// All that was ever allocated for a list is at most four times what it has come to.
func TestRoom(t *testing.T) {
	const n = 100_000
	var s []int64
	allocated := 0
	for i := range n {
		before := cap(s)
		if s = Room(s); cap(s) != before {
			allocated += cap(s)
		}
		s = append(s, int64(i))
	}
	for i, x := range s {
		if x != int64(i) {
			t.Fatalf("entry %d is %d", i, x)
		}
	}
	if allocated > 4*n {
		t.Errorf("%d entries were allocated for %d", allocated, n)
	}
}
