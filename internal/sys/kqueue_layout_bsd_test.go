//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package sys

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// layout has the size and the field offsets of struct kevent, in bytes.
type layout struct{ size, ident, filter, flags, fflags, data, udata uintptr }

func layoutOf() layout {
	var k unix.Kevent_t
	return layout{
		unsafe.Sizeof(k), unsafe.Offsetof(k.Ident), unsafe.Offsetof(k.Filter),
		unsafe.Offsetof(k.Flags), unsafe.Offsetof(k.Fflags), unsafe.Offsetof(k.Data),
		unsafe.Offsetof(k.Udata),
	}
}

// These declarations compile only if the layout is the documented one, so it is also
// checked for systems on which the test cannot run.
var (
	_ [unsafe.Sizeof(Kevent{}) - documentedSize]struct{}
	_ [documentedSize - unsafe.Sizeof(Kevent{})]struct{}
	_ [unsafe.Offsetof(unix.Kevent_t{}.Udata) - documentedUdata]struct{}
	_ [documentedUdata - unsafe.Offsetof(unix.Kevent_t{}.Udata)]struct{}
	_ [unsafe.Offsetof(unix.Kevent_t{}.Data) - documentedData]struct{}
	_ [documentedData - unsafe.Offsetof(unix.Kevent_t{}.Data)]struct{}
	// The user data is at least as wide as a pointer.
	_ [unsafe.Sizeof(unix.Kevent_t{}.Udata) - unsafe.Sizeof(uintptr(0))]struct{}
)

// The layout of struct kevent is the one in <sys/event.h> (kqueue(2)).
func TestKeventLayout(t *testing.T) {
	if got := layoutOf(); got != documented {
		t.Errorf("layout of struct kevent is %+v, documented is %+v", got, documented)
	}
}

func TestKeventFields(t *testing.T) {
	var k Kevent
	udata := uint64(^uintptr(0)) - 5
	k.Set(7, EVFILT_WRITE, EV_ADD|EV_CLEAR, 3, -9, udata)
	if k.Ident() != 7 || k.Filter() != EVFILT_WRITE || k.Flags() != EV_ADD|EV_CLEAR ||
		k.Fflags() != 3 || k.Data() != -9 || k.Udata() != udata {
		t.Errorf("the fields differ from those set: %+v", k.raw)
	}
}

// The flags of kevent for which the selector has its own constants.
var (
	_ [EV_ADD - 0x1]struct{}
	_ [EV_DELETE - 0x2]struct{}
	_ [EV_ENABLE - 0x4]struct{}
	_ [EV_DISABLE - 0x8]struct{}
	_ [EV_ONESHOT - 0x10]struct{}
	_ [EV_CLEAR - 0x20]struct{}
	_ [EV_RECEIPT - 0x40]struct{}
	_ [EV_DISPATCH - 0x80]struct{}
	_ [EV_ERROR - 0x4000]struct{}
	_ [EV_EOF - 0x8000]struct{}
)
