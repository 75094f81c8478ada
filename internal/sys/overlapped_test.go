package sys

import (
	"testing"
	"unsafe"
)

// TestOverlappedLayout compares the layout of Overlapped with that of C, on 64-bit and on
// 32-bit systems.
func TestOverlappedLayout(t *testing.T) {
	const is64 = ptrBytes == 8
	var o Overlapped
	for _, c := range []struct {
		what       string
		got        uintptr
		on64, on32 uintptr
	}{
		{"sizeof OVERLAPPED", unsafe.Sizeof(o), 32, 20},
		{"OVERLAPPED.Internal", unsafe.Offsetof(o.Internal), 0, 0},
		{"OVERLAPPED.InternalHigh", unsafe.Offsetof(o.InternalHigh), 8, 4},
		{"OVERLAPPED.Offset", unsafe.Offsetof(o.Offset), 16, 8},
		{"OVERLAPPED.OffsetHigh", unsafe.Offsetof(o.OffsetHigh), 20, 12},
		{"OVERLAPPED.hEvent", unsafe.Offsetof(o.Event), 24, 16},
	} {
		want := c.on32
		if is64 {
			want = c.on64
		}
		if c.got != want {
			t.Errorf("%s: %d, want %d", c.what, c.got, want)
		}
	}
	if s := unsafe.Sizeof(o); s > OverlappedBytes {
		t.Errorf("Overlapped has %d bytes, its slot %d", s, OverlappedBytes)
	}
}
