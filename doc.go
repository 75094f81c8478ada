// Package pollux is an event queue: it tells which of many sockets, pipes and
// other descriptors are ready, by epoll on Linux, kqueue on macOS and the BSDs, a
// completion port with AFD polls on Windows, and poll(2) on any Unix, and keeps the
// same promises on every one.
//
// A Poll is the queue. Its Registrator registers sources (package sock has them)
// under a Token, with an Interest and a Trigger; Wait hands out Events. Any
// goroutine may register at any time, and any number may wait. A Waker ends a Wait
// from outside. Close tells every registration, once, and then everybody.
//
// The promises, Q1 to Q11, are in the README; internal/selector/conformance tests
// them on every backend.
package pollux
