package sys

import (
	"fmt"
	"net/netip"
	"testing"
	"unsafe"
)

// A list as GetAddrInfoExW returns it, in memory that does not move.
var (
	testInfos     [5]AddrInfoEx
	testSockaddrs [len(testInfos)]Sockaddr
)

// All addresses of a list are returned, in its order, without what is no IP address or is incomplete; a list
// without an end ends at MaxAddrs.
func TestAddrsOf(t *testing.T) {
	for i, text := range []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "fe80::1%7"} {
		ap := netip.AddrPortFrom(netip.MustParseAddr(text), 0)
		s := &testSockaddrs[i]
		s.SetAddrPort(ap, FamilyOf(ap.Addr()))
		testInfos[i] = AddrInfoEx{Family: int32(s.Family()), Addr: uintptr(unsafe.Pointer(&s.raw)), AddrLen: uintptr(s.Len)}
		if i > 0 {
			testInfos[i-1].Next = uintptr(unsafe.Pointer(&testInfos[i]))
		}
	}
	testInfos[1].AddrLen--
	testInfos[3].Family = AF_UNIX
	first := uintptr(unsafe.Pointer(&testInfos[0]))
	if got, want := fmt.Sprint(addrsOf(first)), "[192.0.2.1 2001:db8::1 fe80::1%7]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	testInfos[4].Next = first
	if n := len(addrsOf(first)); n != MaxAddrs {
		t.Errorf("%d addresses of a list without an end, want %d", n, MaxAddrs)
	}
}
