package demo

import "time"

// spread returns n evenly spaced delays from longest/n to longest, shuffled, always in the
// same order.
func spread(n int, longest time.Duration) []time.Duration {
	stride := 1
	for _, s := range []int{7, 11, 13, 17, 19, 23} {
		if n%s != 0 { // then i*stride mod n is each of 0..n-1 once
			stride = s
			break
		}
	}
	unit := time.Millisecond
	if longest/time.Duration(max(n, 1)) < unit {
		unit = time.Microsecond
	}
	delays := make([]time.Duration, n)
	for i := range delays {
		place := time.Duration((i*stride+stride/2)%n + 1)
		delays[i] = (longest * place / time.Duration(n)).Round(unit)
	}
	return delays
}
