// Package save puts bodies where they belong: whole, or not at all.
package save

import "io"

// An Output makes a place for the body of each job. Its methods are called from
// the jobs' own goroutines.
type Output interface {
	// Create begins the body of the job with this index.
	Create(index int) (Body, error)
}

// A Body is being written. It ends by Commit or by Abort.
type Body interface {
	io.Writer
	// Commit says that the body is whole, and makes it visible.
	Commit() error
	// Abort takes back what was written. It reports whether that was possible, so
	// that the job may begin anew.
	Abort() bool
}
