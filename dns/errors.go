package dns

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/misuse"
)

var (
	// ErrClosed is the error of a Resolver that is closed, or whose loop has ended. It is net.ErrClosed.
	ErrClosed = net.ErrClosed
	// ErrNotInline reports a name that only servers, or the system's resolver, may know, with the strategy Inline or
	// LookupInline: look it up by Lookup of a resolver with another strategy.
	ErrNotInline = errors.New("not known without asking a server, and only what is known inline was asked for")
	// ErrBusy reports that too many lookups are in progress: begin fewer at a time.
	ErrBusy = errors.New("too many lookups are in progress; begin fewer at a time")
)

// errNotASCII: DNS has international names in an ASCII form only (RFC 5891).
var errNotASCII = fmt.Errorf("%w: the name is not ASCII; convert it to its ASCII form, which begins with xn--", misuse.ErrBadArgument)

// errServerTimeout: a server has not responded within the timeout of an attempt.
var errServerTimeout error = timeoutError{}

type timeoutError struct{}

func (timeoutError) Error() string        { return "no response in time" }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Temporary() bool      { return true }
func (timeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// An rcodeError is a response with an error code.
type rcodeError struct {
	code         dnswire.Rcode
	explanations []dnswire.ExtendedError
}

func (e *rcodeError) Error() string {
	text := fmt.Sprintf("the server reports %v", e.code)
	for _, x := range e.explanations {
		text += fmt.Sprintf(" (%v)", x)
	}
	return text
}

// Temporary reports whether the same question may succeed later.
func (e *rcodeError) Temporary() bool { return e.code == dnswire.RcodeServerFailure }
