// Package afd tells readiness on Windows, by a completion port and polls of AFD,
// the driver below Winsock. Windows has no readiness queue of its own; a poll
// (IOCTL_AFD_POLL) is what its select is made of: an operation on one socket,
// which completes when one of the events asked for is there. wepoll, mio and libuv
// use it in this way.
//
// # A registration
//
// A registration has at most one poll in flight. Its states:
//
//	idle       no poll: all that is wanted has been told
//	pending    a poll is in flight
//	cancelled  a poll is in flight that asks for too little; it has been
//	           cancelled, and when it completes the next one is started
//	landed     its poll has completed and been taken from the port, but not by
//	           a Wait: the next one tells it
//
// A registration that ends while a poll is in flight lives on, as deleted, until
// the completion has come: the kernel writes to the poll's memory until then. That
// memory is not the Go heap's. Completions carry the number of the registration,
// which is not given out again before, so a late one cannot hit a new socket with
// the old one's handle.
//
// A poll that asks for too much is left alone; what it brings is filtered.
//
// Whoever registers and deregisters without ever waiting would pile up deleted
// registrations. Add therefore takes completions from the port itself when there
// are many; those of live registrations land.
//
// # Edge, level, oneshot
//
// A poll is level-triggered: it completes at once if the event is there. An edge
// is made by asking only for the directions that are armed: all of them at first,
// and one that has been told only after a source has said, by Blocked, that a call
// in it would have blocked. Level: what has been told is asked for again by every
// Wait. Oneshot: not until Modify.
//
// If a call would have blocked while a poll was in flight, the poll's completion
// may be older than that call; its news of that direction is dropped, and AFD is
// asked again.
//
// The ends of a connection are events of their own. A registration of which every
// direction has been told, and which is not drained, gets a guard before somebody
// goes to sleep: a poll for the ends not yet told. One that is drained is armed
// again by then, so it costs no guard.
//
// # Waiting
//
// Any number of threads take completions from the port; each completion goes to
// one of them, and there is one for each registration at most, so each edge is
// handed to one Wait. Polls are started by the call that needs them, in Add,
// Modify and Blocked, so sleepers see them; what waits for the next Wait (level
// and guards) is also done after waiting, if somebody sleeps (level).
//
// A poll that AFD does not start, because the kernel is out of resources, is tried again by a Wait, each
// retryAfter at the latest; where the call that needs it is none of Wait, it wakes a
// sleeper for that. So the registration does not go deaf.
//
// # Limits
//
// Only sockets can be watched. A poll is told by AFD only of the handle that it
// was started for; a handle that is closed without Delete drops its registration,
// as with epoll, if a poll was in flight: an idle one stays until Delete.
package afd
