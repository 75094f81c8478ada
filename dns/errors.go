package dns

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/pollux-io/pollux/internal/exchange"
)

var (
	// ErrClosed is the error of a Resolver that is closed, or whose loop has ended. It is net.ErrClosed.
	ErrClosed = net.ErrClosed
	// ErrNotInline reports a name that only servers, or the system's resolver, may know, with the strategy Inline or
	// LookupInline: look it up by Lookup of a resolver with another strategy.
	ErrNotInline = errors.New("not known without asking a server, and only what is known inline was asked for")
	// ErrBusy reports that too many lookups are in progress: begin fewer at a time.
	ErrBusy = exchange.ErrBusy
)

// Why a name has no answer. Both errors wrap ErrNotFound.
var (
	// ErrNotFound: the name does not exist, or has no record of the type.
	ErrNotFound = errors.New("not found")
	// ErrNoName: the name does not exist (NXDOMAIN).
	ErrNoName = fmt.Errorf("no such name: %w", ErrNotFound)
	// ErrNoData: the name exists, but has no record of the type. It is also the error of an alias, if the response does not
	// have the records of its target: no further query is sent.
	ErrNoData = fmt.Errorf("no record of the type: %w", ErrNotFound)
)

// An Error is the error of a lookup. Unwrap returns what wraps or is ErrNoName or ErrNoData, ErrNotInline,
// pollux.ErrBadArgument (the name or the type cannot be looked up), loop.ErrOnLoop, ErrClosed, ErrBusy, the
// context's cause, the error of the last attempt, or a *net.DNSError of the pool. Lookups may return the same Error:
// do not change it.
type Error struct {
	Name   string
	Type   Type   // 0 for Lookup
	Path   Path   // where the error comes from, if it comes from a source
	Reason string // why the system's resolver was asked: empty unless it was
	Steps  []Step // attempts that failed: at most those of one of the names asked for
	Err    error
}

// Error returns the name, the type, the cause, and the failed attempts.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "dns: lookup %q (%v): %v", e.Name, e.Type, e.Err)
	switch {
	case e.Reason != "":
		fmt.Fprintf(&b, " [%s: %s]", e.Path, e.Reason)
	case e.Path != "":
		fmt.Fprintf(&b, " [%s]", e.Path)
	}
	for i, s := range e.Steps {
		fmt.Fprintf(&b, "; attempt %d: %v", i+1, s)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether servers have not responded in time, or a deadline has passed.
func (e *Error) Timeout() bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](e.Err)
	return ok && t.Timeout()
}

// Temporary reports whether the same lookup may succeed later.
func (e *Error) Temporary() bool {
	t, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](e.Err)
	return ok && t.Temporary() || errors.Is(e.Err, ErrBusy)
}
