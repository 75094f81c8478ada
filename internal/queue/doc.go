// Package queue is the event queue: registrations over any selector, which has the readiness,
// and Wait, wakers and Close over them. Package pollux, the root, is its public facade; the
// drivers (internal/driver) use it directly. The promises Q1 to Q11 are kept here and by the
// selectors; internal/selector/conformance tests them.
//
// Start with poll.go. It does no I/O and knows no kernel: that is the selectors' part. How it
// chooses one is in package backend.
package queue
