// Package afd reports readiness on Windows, by a completion port and polls of AFD,
// the driver below Winsock. Windows has no readiness queue; its select is
// implemented by polls (IOCTL_AFD_POLL): operations on one socket that complete
// when one of the requested events occurs. wepoll, mio and libuv use them in this
// way.
//
// # A registration
//
// A registration has at most one poll in flight. Its states:
//
//	idle       no poll is in flight: all that is wanted has been reported
//	pending    a poll is in flight
//	cancelled  the poll in flight asks for too little; it has been cancelled,
//	           and the next one is started when it completes
//	landed     its poll has completed and been taken from the port, but not by
//	           a Wait: the next Wait reports it
//
// A registration that is removed while a poll is in flight stays, as deleted, until
// the poll has completed: the kernel writes to the poll's memory until then. That
// memory is not on the Go heap. Completions carry the number of the registration,
// which is not reused before, so a late completion cannot be taken for one of a new
// socket with the same handle.
//
// A poll that asks for too much is not cancelled; its events are filtered.
//
// A program that calls Add and Delete but never Wait would accumulate deleted
// registrations. Add therefore takes completions from the port itself when there
// are many; live registrations become landed by that.
//
// # Edge, level, oneshot
//
// A poll is level-triggered: it completes immediately if the event exists. For
// edges a poll asks only for the directions that are armed: all of them at first;
// a direction that has been reported is re-armed when a source reports, by Rearm,
// that a call in it would have blocked. Level: every Wait asks again for what has
// been reported. Oneshot: nothing is asked for until Modify.
//
// If a call would have blocked while a poll was in flight, the poll's completion
// may be older than that call; its event of that direction is dropped, and AFD is
// asked again.
//
// The ends of a connection (FIN, reset, failed connect) are events of their own. A
// registration with all directions reported, and not drained, gets a guard before
// a Wait sleeps: a poll for the ends not yet reported. A drained registration has
// been re-armed by then, so it needs no guard.
//
// # Waiting
//
// Any number of threads take completions from the port; each completion goes to
// one of them, and each registration has at most one, so one Wait gets each edge.
// Add, Modify and Rearm start polls immediately, so a sleeping Wait gets their
// completions. Polls of level registrations, and guards, are started by the next
// Wait; those of level registrations also by a Wait that returns events while
// another Wait sleeps.
//
// A poll that AFD does not start, because the kernel is out of resources, is tried
// again by a Wait within retryAfter; calls other than Wait wake a sleeper for that.
// So no event of the registration is lost.
//
// # Limits
//
// Only sockets can be watched. AFD reports to a poll only events of the handle that
// it was started for. If a handle is closed without Delete while a poll is in
// flight, the registration is dropped, as with epoll; an idle one stays until
// Delete.
//
// # Files
//
// Read socket_windows.go first, a registration and its polls; wait_windows.go has a Wait,
// collect_windows.go takes completions from the port, share_windows.go is for a port that a driver
// owns.
package afd
