//go:build race

package sock_test

// raceEnabled: with the race detector sync.Pool drops objects at random.
const raceEnabled = true
