package afd

import (
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// What AFD says of a direction, apart from the end of the connection.
const (
	readEvents     = sys.AFD_POLL_RECEIVE | sys.AFD_POLL_ACCEPT
	writeEvents    = sys.AFD_POLL_SEND
	priorityEvents = sys.AFD_POLL_EXPEDITED
)

// How a connection ends. AFD goes on to tell it once it has happened, as level
// does; nothing that the program reads or writes makes it untrue.
const (
	failEvents = sys.AFD_POLL_ABORT | sys.AFD_POLL_CONNECT_FAIL
	endEvents  = sys.AFD_POLL_DISCONNECT | failEvents
)

// events returns what to ask AFD for, for a direction to be told when it becomes
// ready.
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

// ends returns the ends of the connection that somebody with the interest is told:
// failures always, the peer's FIN with Readable, as epoll does it.
func ends(i selector.Interest) uint32 {
	if i&selector.Readable != 0 {
		return endEvents
	}
	return failEvents
}

// certain returns the events that are still true after calls in the directions d
// would have blocked.
func certain(got uint32, d selector.Interest) uint32 {
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
		f |= selector.Error
	}
	return f
}
