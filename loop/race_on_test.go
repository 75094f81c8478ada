//go:build race

package loop_test

// raceEnabled reports whether the race detector, which allocates memory itself, is enabled.
const raceEnabled = true
