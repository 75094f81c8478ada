package sys

import (
	"testing"
	"unsafe"
)

// TestAddrInfoExLayout compares the layout of AddrInfoEx with that of C, on 64-bit and on 32-bit
// systems.
func TestAddrInfoExLayout(t *testing.T) {
	const is64 = ptrBytes == 8
	var i AddrInfoEx
	for _, c := range []struct {
		what       string
		got        uintptr
		on64, on32 uintptr
	}{
		{"sizeof ADDRINFOEXW", unsafe.Sizeof(i), 72, 44},
		{"ADDRINFOEXW.ai_flags", unsafe.Offsetof(i.Flags), 0, 0},
		{"ADDRINFOEXW.ai_family", unsafe.Offsetof(i.Family), 4, 4},
		{"ADDRINFOEXW.ai_socktype", unsafe.Offsetof(i.SockType), 8, 8},
		{"ADDRINFOEXW.ai_protocol", unsafe.Offsetof(i.Protocol), 12, 12},
		{"ADDRINFOEXW.ai_addrlen", unsafe.Offsetof(i.AddrLen), 16, 16},
		{"ADDRINFOEXW.ai_canonname", unsafe.Offsetof(i.CanonName), 24, 20},
		{"ADDRINFOEXW.ai_addr", unsafe.Offsetof(i.Addr), 32, 24},
		{"ADDRINFOEXW.ai_blob", unsafe.Offsetof(i.Blob), 40, 28},
		{"ADDRINFOEXW.ai_bloblen", unsafe.Offsetof(i.BlobLen), 48, 32},
		{"ADDRINFOEXW.ai_provider", unsafe.Offsetof(i.Provider), 56, 36},
		{"ADDRINFOEXW.ai_next", unsafe.Offsetof(i.Next), 64, 40},
	} {
		want := c.on32
		if is64 {
			want = c.on64
		}
		if c.got != want {
			t.Errorf("%s: %d, want %d", c.what, c.got, want)
		}
	}
}
