package sys

// NetBSD's EV_DISPATCH and EV_RECEIPT are younger than x/sys knows it, and were
// seen to be ignored in part: with EV_CLEAR, EV_DISPATCH does nothing.
const (
	HasDispatch = false
	EV_DISPATCH = 0
	EV_RECEIPT  = 0

	// SilentRequeue: a level-triggered event is put back without waking others.
	SilentRequeue = true
)
