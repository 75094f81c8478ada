package sys

import "testing"

// TestOpenHandles checks the count that the leak tests depend on.
func TestOpenHandles(t *testing.T) {
	before, e := OpenHandles()
	if e != 0 || before == 0 {
		t.Fatal(before, e)
	}
	var ports []FD
	for range 50 {
		p, e := CreatePort()
		if e != 0 {
			t.Fatal(e)
		}
		ports = append(ports, p)
	}
	during, _ := OpenHandles()
	if during < before+50 {
		t.Errorf("%d handles, %d with 50 more", before, during)
	}
	for _, p := range ports {
		CloseHandle(p)
	}
	if after, _ := OpenHandles(); after >= during {
		t.Errorf("%d handles, %d with 50 fewer", during, after)
	}
}
