//go:build race

package loop_test

// raceEnabled: the race detector allocates on its own.
const raceEnabled = true
