package tlsengine

import (
	"testing"
	"unsafe"
)

// Each idle connection has a Conn: more bytes than its size class of the allocator would cost 16.
func TestConnSize(t *testing.T) {
	const class = 112
	if size := unsafe.Sizeof(Conn{}); unsafe.Sizeof(uintptr(0)) == 8 && size > class {
		t.Errorf("a Conn has %d bytes, more than %d", size, class)
	}
}
