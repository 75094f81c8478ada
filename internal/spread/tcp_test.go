package spread

import (
	"errors"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
)

func TestTCP(t *testing.T) {
	all, err := TCP(3, netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer CloseAll(all)
	want := 1
	if runtime.GOOS == "linux" {
		want = 3
	}
	if len(all) != want {
		t.Errorf("%d sockets, want %d", len(all), want)
	}
	for _, l := range all {
		if l.Addr() != all[0].Addr() {
			t.Errorf("sockets listen at %v and %v", l.Addr(), all[0].Addr())
		}
	}
	// A second server must not share the port.
	if others, err := TCP(3, all[0].Addr()); !errors.Is(err, syscall.EADDRINUSE) {
		CloseAll(others)
		t.Errorf("a second server at %v: %v, want EADDRINUSE", all[0].Addr(), err)
	}
}
