package sys

// x/sys lacks these for NetBSD, whose <sys/event.h> has them since 8.0. Go itself needs 9.
// With EV_CLEAR, EV_DISPATCH does nothing there.
const (
	EV_DISPATCH = 0x80
	EV_RECEIPT  = 0x40
)

// SilentRequeue reports whether the kernel requeues a level-triggered event without waking
// sleeping waiters.
const SilentRequeue = true
