// Package limits knows how many descriptors this process may have.
package limits

import (
	"errors"
	"math"
	"syscall"
)

// Reserve is how many descriptors are left for what is neither a connection nor
// its file: standard streams, the Poll, Go's poller, name servers, the resolver's
// files.
const Reserve = 64

// Advice says what to do when descriptors have run out.
const Advice = "descriptors have run out: " + More + " or lower --parallel"

// Exhausted reports whether err says that this process, or the machine, has no
// descriptor left.
func Exhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// Fit lowers want, a number of things that need each descriptors, to what the
// limit allows; at least 1.
func Fit(want, each int) int {
	soft, _, ok := Descriptors()
	if !ok || soft > math.MaxInt32 {
		return want
	}
	return max(min(want, (int(soft)-Reserve)/each), 1)
}
