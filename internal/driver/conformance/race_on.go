//go:build race

package conformance

// raceEnabled is true if the race detector, which itself allocates, is on.
const raceEnabled = true
