package exchange

import (
	"errors"
	"fmt"
	"os"

	"github.com/pollux-io/pollux/internal/dnswire"
)

// ErrBusy reports that as many queries are in progress as the limits permit.
var ErrBusy = errors.New("too many lookups are in progress; begin fewer at a time")

// ErrTimeout: a server has not responded within the timeout of an attempt.
var ErrTimeout error = timeoutError{}

type timeoutError struct{}

func (timeoutError) Error() string        { return "no response in time" }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Temporary() bool      { return true }
func (timeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// An RcodeError is a response with an error code.
type RcodeError struct {
	code         dnswire.Rcode
	explanations []dnswire.ExtendedError
}

func (e *RcodeError) Error() string {
	text := fmt.Sprintf("the server reports %v", e.code)
	for _, x := range e.explanations {
		text += fmt.Sprintf(" (%v)", x)
	}
	return text
}

// Temporary reports whether the same question may succeed later.
func (e *RcodeError) Temporary() bool { return e.code == dnswire.RcodeServerFailure }
