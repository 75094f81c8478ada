package simnet

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"time"
)

// A Link is what data passes through on its way from one host to another. The zero Link delivers
// within the call that sends, as loopback does.
type Link struct {
	Latency time.Duration // of every segment and datagram
	Jitter  time.Duration // maximum of a random addition to Latency; it does not reorder
	// BytesPerSecond is the bandwidth; 0: unlimited. What is sent while the line is busy waits, without
	// limit: the buffers of the sockets are the bound of a stream.
	BytesPerSecond int64
	// SegmentBytes is the largest number of bytes of a stream that travel together; 0: unlimited. With
	// RandomSegments each segment has from 1 to SegmentBytes bytes, or to what was written.
	SegmentBytes   int
	RandomSegments bool
	// Loss, Duplicate and Reorder are probabilities, from 0 to 1, for each datagram: it is lost, arrives
	// twice, or may be overtaken by those sent after it. Segments of a TCP connection are subject to Loss
	// only: a lost segment, and what was sent after it, arrives when it has been retransmitted.
	Loss, Duplicate, Reorder float64
}

// Validate returns an error that names the field that is out of range, or nil.
func (l *Link) Validate() error {
	switch {
	case l.Latency < 0:
		return fmt.Errorf("simnet: Link.Latency is %v; want 0 or more", l.Latency)
	case l.Jitter < 0:
		return fmt.Errorf("simnet: Link.Jitter is %v; want 0 or more", l.Jitter)
	case l.BytesPerSecond < 0:
		return fmt.Errorf("simnet: Link.BytesPerSecond is %d; want 0 (unlimited) or more", l.BytesPerSecond)
	case l.SegmentBytes < 0:
		return fmt.Errorf("simnet: Link.SegmentBytes is %d; want 0 (unlimited) or more", l.SegmentBytes)
	}
	return validProbabilities("Link", []probability{
		{"Loss", l.Loss}, {"Duplicate", l.Duplicate}, {"Reorder", l.Reorder},
	})
}

type probability struct {
	name  string
	value float64
}

func validProbabilities(of string, all []probability) error {
	for _, p := range all {
		if !(p.value >= 0 && p.value <= 1) { // a NaN is out of range, too
			return fmt.Errorf("simnet: %s.%s is %v; want a probability from 0 to 1", of, p.name, p.value)
		}
	}
	return nil
}

// chance returns true with the given probability. It draws a number only if both results are
// possible: a feature that is off does not change the other random decisions of a seed.
func chance(r *rand.Rand, probability float64) bool {
	return probability > 0 && (probability >= 1 || r.Float64() < probability)
}

// upTo returns a random duration from 0 to limit.
func upTo(r *rand.Rand, limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	return time.Duration(r.Uint64N(uint64(limit) + 1))
}

// Sizes of headers, which take bandwidth: Ethernet, IPv4 and TCP or UDP without options.
const (
	tcpHeaderBytes = 14 + 20 + 20
	udpHeaderBytes = 14 + 20 + 8
)

// A line is a Link in use, from one host to another.
type line struct {
	link    Link
	cut     bool  // by Partition
	idleAt  int64 // when all that was sent before has left the sender
	orderAt int64 // datagrams sent from now on do not arrive before, unless reordered
}

// immediate reports whether the line delivers within the call that sends.
func (l *line) immediate() bool {
	return l.link.Latency == 0 && l.link.Jitter == 0 && l.link.BytesPerSecond == 0
}

// transit returns when bytes that are sent now arrive, by themselves.
func (l *line) transit(r *rand.Rand, now int64, bytes int) int64 {
	left := now
	if rate := l.link.BytesPerSecond; rate > 0 {
		left = later(max(now, l.idleAt), transmission(bytes, rate))
		l.idleAt = left
	}
	return later(later(left, l.link.Latency), upTo(r, l.link.Jitter))
}

// transmission returns how long the bytes take at the rate, rounded up.
func transmission(bytes int, bytesPerSecond int64) time.Duration {
	rate := uint64(bytesPerSecond)
	whole, rest := uint64(bytes)/rate, uint64(bytes)%rate
	hi, lo := bits.Mul64(rest, uint64(time.Second)) // may exceed 64 bits: rest is less than rate only
	lo, carry := bits.Add64(lo, rate-1, 0)
	part, _ := bits.Div64(hi+carry, lo, rate)
	return time.Duration(whole)*time.Second + time.Duration(part)
}

// minReorder is how long a reordered datagram may lag on a link without latency.
const minReorder = time.Millisecond

// lag returns how much later a reordered datagram arrives.
func (l *line) lag(r *rand.Rand) time.Duration {
	most := later(later(int64(l.link.Latency), l.link.Jitter), minReorder)
	return time.Duration(later(1, upTo(r, time.Duration(most))))
}

// segmentBytes returns how many of the bytes that a stream has to send travel in its next segment.
func (l *line) segmentBytes(r *rand.Rand, unsent int) int {
	n := unsent
	if l.link.SegmentBytes > 0 {
		n = min(n, l.link.SegmentBytes)
	}
	if l.link.RandomSegments && n > 1 {
		n = 1 + r.IntN(n)
	}
	return n
}
