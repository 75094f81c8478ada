// Package lib is a library for mutants to change.
package lib

// Sum returns a + b.
func Sum(a, b int) int {
	return a + b
}

// Twice returns a + a.
func Twice(a int) int {
	return a + a
}
