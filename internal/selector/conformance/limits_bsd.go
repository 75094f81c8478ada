//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package conformance

import "github.com/pollux-io/pollux/internal/sys"

// limitsOf returns the limits of a backend on this system. Those of poll(2) were observed
// on NetBSD; the other systems' poll(2) has the same origin, and may have fewer limits.
func limitsOf(backend string) Limits {
	if backend == "poll" {
		return Limits{EndsAsReadable: sys.POLLRDHUP == 0, UrgentLasts: true}
	}
	return Limits{NoUrgent: !sys.HasEvfiltExcept}
}
