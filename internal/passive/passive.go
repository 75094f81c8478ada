// Package passive is what package loop knows of the handlers of package netconn.
package passive

// A Handler is a loop.Handler whose callbacks run no code of a user: nothing that they call waits for a loop. So
// loop.Loop.OnLoop, which calls that may wait make first, need not identify the calling goroutine, which takes a
// microsecond, while one of them runs.
type Handler interface {
	// Passive does nothing.
	Passive()
}
