//go:build unix || windows

package sys

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"unsafe"
)

// SetUnix accepts every valid name within the limit, and Unix returns it unchanged.
func FuzzUnixName(f *testing.F) {
	for _, name := range []string{
		"", "a", "/run/s.sock", "@", "@a", "@\x00", "@a\x00b\xff", "@@", "./@a", "././@a", "./a", "a\x00b", "\x00a",
		strings.Repeat("x", unixPathSize-1), strings.Repeat("x", unixPathSize), strings.Repeat("x", unixPathSize+1),
		"@" + strings.Repeat("\x00", unixPathSize-1), "@" + strings.Repeat("x", unixPathSize),
		"./@" + strings.Repeat("x", unixPathSize-1), "./@" + strings.Repeat("x", unixPathSize),
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		var a Sockaddr
		ok := a.SetUnix(name)
		long := len(name)
		if strings.HasPrefix(name, "./") && IsAbstractUnix(name[2:]) {
			long -= 2
		}
		possible := long <= MaxUnixName && (IsAbstractUnix(name) || !strings.Contains(name, "\x00"))
		if ok != possible {
			t.Fatalf("SetUnix(%q): %v, want %v", name, ok, possible)
		}
		if !ok {
			return
		}
		if got := a.Unix(); got != name {
			t.Fatalf("SetUnix(%q), then Unix = %q", name, got)
		}
		if a.Len > SockaddrSize {
			t.Fatalf("%q: %d bytes do not fit", name, a.Len)
		}
		if (a.UnixPath() == "") != (name == "" || IsAbstractUnix(name)) {
			t.Fatalf("%q: path %q", name, a.UnixPath())
		}
	})
}

// AddrPort returns the address that SetAddrPort has stored, in the form of the socket's
// family.
func FuzzAddrPort(f *testing.F) {
	for _, s := range []string{"127.0.0.1:80", "[::1]:80", "[::]:0", "[fe80::1%7]:65535", "[::ffff:192.0.2.1]:9", "[ff02::1%1]:5353"} {
		ap := netip.MustParseAddrPort(s)
		zone, _ := strconv.Atoi(ap.Addr().Zone())
		f.Add(ap.Addr().AsSlice(), ap.Port(), uint32(zone), ap.Addr().Is4())
	}
	f.Fuzz(func(t *testing.T, b []byte, port uint16, zone uint32, v4 bool) {
		ip, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		if zone != 0 && ip.Is6() {
			ip = ip.WithZone(strconv.FormatUint(uint64(zone), 10))
		}
		family := AF_INET6
		if v4 {
			family = AF_INET
		}
		var a Sockaddr
		ok = a.SetAddrPort(netip.AddrPortFrom(ip, port), family)
		if possible := !v4 || ip.Unmap().Is4(); ok != possible {
			t.Fatalf("%v for family %d: %v, want %v", ip, family, ok, possible)
		}
		if !ok {
			return
		}
		want := netip.AddrPortFrom(ip.Unmap(), port)
		if got := a.AddrPort(); got != want {
			t.Fatalf("SetAddrPort(%v), then AddrPort = %v", want, got)
		}
		if a.Family() != family || a.Unix() != "" {
			t.Fatalf("%v: family %d, name %q", want, a.Family(), a.Unix())
		}
	})
}

// Any bytes that the kernel writes, also with a length beyond the capacity, give a name, an
// address or neither. A name or an address can be stored again.
func FuzzSockaddrBytes(f *testing.F) {
	seed := func(a Sockaddr) {
		f.Add((*[SockaddrSize]byte)(unsafe.Pointer(&a.raw))[:min(int(a.Len), SockaddrSize)], a.Len)
	}
	var a Sockaddr
	for _, name := range []string{"", "/run/s", "@a\x00b", "@", strings.Repeat("x", MaxUnixName)} {
		a.SetUnix(name)
		seed(a)
		a.Len++ // a path without a terminating zero
		seed(a)
	}
	for _, ap := range []string{"127.0.0.1:80", "[fe80::1%7]:9"} {
		ap := netip.MustParseAddrPort(ap)
		a.SetAddrPort(ap, FamilyOf(ap.Addr()))
		seed(a)
	}
	f.Add([]byte{}, uint32(0))
	f.Add([]byte{255, 255}, ^uint32(0))
	f.Fuzz(func(t *testing.T, b []byte, length uint32) {
		a := Sockaddr{Len: length}
		copy((*[SockaddrSize]byte)(unsafe.Pointer(&a.raw))[:], b)
		ap := a.AddrPort()
		var back Sockaddr
		if ap.IsValid() {
			if !back.SetAddrPort(ap, FamilyOf(ap.Addr())) || back.AddrPort() != ap {
				t.Fatalf("SetAddrPort(%v), then AddrPort = %v", ap, back.AddrPort())
			}
		}
		name := a.Unix()
		if a.Family() != AF_UNIX || a.Len > SockaddrSize+1 {
			return // kernels do not write such lengths: only check that it does not crash
		}
		if len(name) > MaxUnixName+len(dotSlash) {
			return // a path of a BSD without a terminating zero
		}
		if !back.SetUnix(name) || back.Unix() != name {
			t.Fatalf("SetUnix(%q), then Unix = %q", name, back.Unix())
		}
	})
}
