package conformance

import "github.com/pollux-io/pollux/internal/sys"

// limitsOf returns the limits of a backend on this system, which has poll(2) only. It has not been
// run here: that poll(2) without POLLRDHUP reports an end as Readable follows from its interface.
func limitsOf(string) Limits { return Limits{EndsAsReadable: sys.POLLRDHUP == 0} }
