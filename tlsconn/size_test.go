package tlsconn

import (
	"testing"
	"unsafe"
)

// A layer fills its size class of the allocator: one more field would cost each idle connection 16 bytes.
func TestLayerSize(t *testing.T) {
	const class = 128
	if size := unsafe.Sizeof(layer{}); unsafe.Sizeof(uintptr(0)) == 8 && size > class {
		t.Errorf("a layer has %d bytes, more than %d", size, class)
	}
}
