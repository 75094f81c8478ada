package testkit

import (
	"bytes"
	"sync"
)

// Buffer collects what other goroutines write, such as a logger's records.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends b.
func (l *Buffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// String returns what has been written so far.
func (l *Buffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
