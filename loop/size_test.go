package loop

import (
	"testing"
	"unsafe"
)

// A Conn fills its size class of the allocator: one more field would cost each idle connection
// 16 bytes.
func TestConnSize(t *testing.T) {
	const class = 176
	if size := unsafe.Sizeof(Conn{}); unsafe.Sizeof(uintptr(0)) == 8 && size > class {
		t.Errorf("a Conn has %d bytes, more than %d", size, class)
	}
}

// The same holds for extras, which connections with timeouts have.
func TestExtrasSize(t *testing.T) {
	const class = 256
	if size := unsafe.Sizeof(extras{}); unsafe.Sizeof(uintptr(0)) == 8 && size > class {
		t.Errorf("extras have %d bytes, more than %d", size, class)
	}
}
