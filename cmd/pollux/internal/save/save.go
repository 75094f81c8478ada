// Package save writes bodies to files or to a stream: completely, or not at all.
package save

import "io"

// An Output creates the body of each job. Its methods are called from the goroutines of
// the jobs.
type Output interface {
	// Create begins the body of the job with this index.
	Create(index int) (Body, error)
}

// A Body is being written. Commit or Abort ends it.
type Body interface {
	io.Writer
	// Commit makes the complete body visible.
	Commit() error
	// Abort removes what was written. It reports whether that was possible, so
	// that the job may be retried.
	Abort() bool
}
