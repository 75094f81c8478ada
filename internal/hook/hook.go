// Package hook gives tests and the native drivers access to internals of the root package. Its
// variables are nil until that package is initialised.
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
