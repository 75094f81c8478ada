package main

import (
	"fmt"
	"math/bits"
	"time"
)

const (
	// binsOfPower is how many bins each power of two has: a bin is 1/16 of a power wide, so that a
	// percentile is at most 6 % too high.
	binsOfPower = 1 << 4
	powers      = 64
)

// histogram counts latencies. The zero histogram is empty.
type histogram struct {
	bins [powers * binsOfPower]uint64
	n    uint64
	max  time.Duration
}

// bin returns the bin of d nanoseconds.
func bin(d time.Duration) int {
	v := uint64(max(d, 0))
	power := max(bits.Len64(v)-bits.Len64(2*binsOfPower-1), 0)
	return power*binsOfPower + int(v>>power)
}

// upper returns the highest value of a bin.
func upper(i int) time.Duration {
	power := max(i/binsOfPower-1, 0)
	return time.Duration(uint64(i-power*binsOfPower+1)<<power - 1)
}

func (h *histogram) record(d time.Duration) {
	h.bins[bin(d)]++
	h.n++
	h.max = max(h.max, d)
}

func (h *histogram) add(other *histogram) {
	for i, n := range other.bins {
		h.bins[i] += n
	}
	h.n += other.n
	h.max = max(h.max, other.max)
}

// percentile returns the value that p percent of the recorded ones do not exceed.
func (h *histogram) percentile(p float64) time.Duration {
	left := uint64(float64(h.n) * p / 100)
	for i, n := range h.bins {
		if n >= left && n > 0 {
			return min(upper(i), h.max)
		}
		left -= n
	}
	return h.max
}

func (h *histogram) String() string {
	short := func(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }
	return fmt.Sprintf("50 %% %s, 90 %% %s, 99 %% %s, 99.9 %% %s, all %s", short(h.percentile(50)), short(h.percentile(90)), short(h.percentile(99)),
		short(h.percentile(99.9)), short(h.max))
}
