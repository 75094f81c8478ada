//go:build race

package testkit

// Race reports whether the race detector is on. It allocates memory itself, makes sync.Pool
// drop objects at random, and slows programs down several times.
const Race = true
