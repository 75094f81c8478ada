package simnet

import "time"

// A Link is what data from one host to another passes through. The zero Link delivers at once.
type Link struct {
	Latency time.Duration // of every segment and datagram
	Jitter  time.Duration // up to so much more, at random
	// BytesPerSecond is the bandwidth; 0: unlimited.
	BytesPerSecond int64
	// SegmentBytes is the largest number of bytes of a stream that travel together; 0: as written.
	// RandomSegments makes each from 1 to that, or to what was written.
	SegmentBytes   int
	RandomSegments bool
	// Loss, Duplicate and Reorder are probabilities, from 0 to 1, for each datagram. A lost segment of a
	// TCP connection arrives later, when it has been sent again.
	Loss, Duplicate, Reorder float64
}
