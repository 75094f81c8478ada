//go:build race

package conformance

// raceEnabled: the race detector allocates on its own.
const raceEnabled = true
