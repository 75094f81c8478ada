package afd

import (
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// AFD's events of a direction, without those of the end of the connection.
const (
	readEvents     = sys.AFD_POLL_RECEIVE | sys.AFD_POLL_ACCEPT
	writeEvents    = sys.AFD_POLL_SEND
	priorityEvents = sys.AFD_POLL_EXPEDITED
)

// AFD's events of the end of a connection. They are level-triggered, and once they
// have occurred no read or write clears them.
const (
	failEvents = sys.AFD_POLL_ABORT | sys.AFD_POLL_CONNECT_FAIL
	endEvents  = sys.AFD_POLL_DISCONNECT | failEvents
)

// events returns the events to ask AFD for to report the readiness of the
// directions i.
func events(i selector.Interest) uint32 {
	ask := ends(i)
	if i&selector.Readable != 0 {
		ask |= readEvents
	}
	if i&selector.Writable != 0 {
		ask |= writeEvents
	}
	if i&selector.Priority != 0 {
		ask |= priorityEvents
	}
	return ask
}

// ends returns the ends of the connection that are reported with interest i:
// failures always, the peer's FIN with Readable, as with epoll.
func ends(i selector.Interest) uint32 {
	if i&selector.Readable != 0 {
		return endEvents
	}
	return failEvents
}

// withoutStale returns got without the events that may be stale because calls in the
// directions d would have blocked.
func withoutStale(got uint32, d selector.Interest) uint32 {
	if d&selector.Readable != 0 {
		got &^= readEvents
	}
	if d&selector.Writable != 0 {
		got &^= writeEvents
	}
	if d&selector.Priority != 0 {
		got &^= priorityEvents
	}
	return got
}

// flags translates AFD's events; docs/platforms.md has the table.
func flags(got uint32) selector.Flags {
	var f selector.Flags
	if got&(readEvents|endEvents) != 0 {
		f |= selector.ReadableFlag
	}
	if got&(writeEvents|failEvents) != 0 {
		f |= selector.WritableFlag
	}
	if got&priorityEvents != 0 {
		f |= selector.PriorityFlag
	}
	if got&endEvents != 0 {
		f |= selector.ReadClosed
	}
	if got&failEvents != 0 {
		f |= selector.WriteClosed
	}
	if got&sys.AFD_POLL_CONNECT_FAIL != 0 {
		f |= selector.Failed
	}
	return f
}
