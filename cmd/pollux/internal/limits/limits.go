// Package limits returns how many descriptors this process may have.
package limits

import (
	"errors"
	"math"
	"syscall"
)

// Reserve is the number of descriptors that are kept free for other uses than connections
// and their files: standard streams, the Poll, Go's poller, name servers, the resolver's
// files.
const Reserve = 64

// Advice is what to do when the process is out of descriptors.
const Advice = "out of file descriptors: " + More + " or lower --parallel"

// Exhausted reports whether err means that this process, or the machine, is out of
// descriptors.
func Exhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// Fit returns want, the number of objects that need each descriptors, lowered to the number
// that the limit allows; at least 1.
func Fit(want, each int) int {
	soft, _, ok := Descriptors()
	if !ok || soft > math.MaxInt32 {
		return want
	}
	return max(min(want, (int(soft)-Reserve)/each), 1)
}
