package loop

import (
	"testing"
	"unsafe"
)

// A Conn fills its size class of the allocator: one field more, and each idle
// connection costs 16 bytes more.
func TestConnSize(t *testing.T) {
	const class = 176
	if size := unsafe.Sizeof(Conn{}); unsafe.Sizeof(uintptr(0)) == 8 && size > class {
		t.Errorf("a Conn has %d bytes, more than %d", size, class)
	}
}

// So do its extras, which connections with timeouts have.
func TestExtrasSize(t *testing.T) {
	const class = 256
	if size := unsafe.Sizeof(extras{}); unsafe.Sizeof(uintptr(0)) == 8 && size > class {
		t.Errorf("extras have %d bytes, more than %d", size, class)
	}
}
