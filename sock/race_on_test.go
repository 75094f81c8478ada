//go:build race

package sock_test

// raceEnabled: the race detector empties pools at random.
const raceEnabled = true
