package doctor

import (
	"strings"
	"testing"

	"github.com/pollux-io/pollux/internal/sys"
)

// The report is about Windows, also under Wine, where a program can read Linux's /proc.
func TestWindows(t *testing.T) {
	r := examine(20000, thisMachine())
	for _, l := range r.Limits {
		if l.Name != handles && l.Name != timedWait {
			t.Errorf("unexpected limit %+v", l)
		}
	}
	if s := r.System; s.MemoryBytes <= 0 || s.AvailableBytes <= 0 || s.AvailableBytes > s.MemoryBytes || s.CgroupCPUs != 0 {
		t.Errorf("%+v", s)
	}
	r.advice(t, memoryName)
	for connections, commands := range map[int]int{100: 2, defaultPorts: 2, defaultPorts + 1: 3} {
		if n := notes(connections)[0]; len(n.Commands) != commands {
			t.Errorf("for %d: %+v", connections, n)
		}
	}
	last := r.Notes[len(r.Notes)-1]
	if noted := last.Name == "Wine"; noted != sys.OnWine() || noted != strings.Contains(r.System.Kernel, "Wine") {
		t.Errorf("%s; %+v", r.System.Kernel, last)
	}
}
