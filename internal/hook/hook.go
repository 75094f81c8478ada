// Package hook lets other packages of this module reach into the root package: tests,
// and drivers that make events without a Poll. It is empty until the root package has
// been initialised.
package hook

import "github.com/pollux-io/pollux/internal/selector"

var (
	// NewPoll makes a *pollux.Poll over any selector.
	NewPoll func(backend string, s selector.Selector) any
	// Table returns the slot table of a *pollux.Poll.
	Table func(poll any) *selector.Table
	// Event returns a pollux.Event with these flags and no token.
	Event func(selector.Flags) any
)
