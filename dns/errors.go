package dns

import (
	"errors"
	"net"

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
