// Package pollux is an event queue: it reports which of many sockets, pipes and
// other descriptors are ready. It uses epoll on Linux, kqueue on macOS and the BSDs,
// a completion port with AFD polls on Windows, and poll(2) on any Unix, and keeps the
// same promises on each of them.
//
// A Poll is the queue. Poll.Register adds a source (a socket, pipe or descriptor of package sock)
// under a Token, with an Interest and a Trigger; Poll.Wait returns Events, which carry the token.
// Any goroutine may register at any time, and any number may wait. A Waker makes a Wait return
// from another goroutine. After Poll.Close, Wait returns one Closed event for each registration,
// then ErrClosed to every caller.
//
// The README lists the promises, Q1 to Q11.
//
// # Misuse
//
// A call with an invalid argument returns an error that wraps ErrBadArgument and names the
// argument and its range; it returns immediately and has no effect. A call that the state of a
// Poll or a source does not allow returns another of this package's errors. Each is in an
// *OpError, the same on every platform. The zero values of Poll and Waker are not usable; New and
// Poll.NewWaker create them.
package pollux

// For those who change the package: poll.go, wait.go and waker.go have the methods of a Poll and
// its wakers; event.go, errors.go and options.go the vocabulary. What the kernels differ in is below
// internal/selector; docs/architecture.md has the path of an event.
