package looptest

import (
	"time"

	"github.com/pollux-io/pollux/internal/simnet"
)

// A Link is what data passes through from one host to another. The zero Link delivers at once, before
// the call that sends returns. A host reaches itself by such a link.
//
// TCP loses nothing: a segment that the link loses is sent again, after 200 ms and then after twice the
// time, up to 120 s, and what follows it in the stream waits for it.
type Link struct {
	// Latency is how long each segment and datagram travels, at least. Not negative.
	Latency time.Duration
	// Jitter is up to how much longer one travels, at random. Not negative.
	Jitter time.Duration
	// BytesPerSecond is the bandwidth. Zero: unlimited.
	BytesPerSecond int64
	// SegmentBytes is up to how many bytes of a stream travel together. Zero: all that are written
	// together. A receiver may still read several segments at once.
	SegmentBytes int
	// RandomSegments makes each segment of a random length: from 1 byte to what it would have otherwise.
	RandomSegments bool
	// Loss is the probability that a segment or a datagram is lost. From 0 to 1.
	Loss float64
	// Duplicate and Reorder are the probabilities that a datagram arrives twice, and that later ones
	// overtake it. From 0 to 1.
	Duplicate, Reorder float64
}

func (l Link) validate() error { return (*simnet.Link)(&l).Validate() }

// SetLink sets the link between two hosts, in both directions. What is on its way arrives as it would
// have.
func (n *Network) SetLink(a, b *Host, l Link) {
	n.SetLinkOneWay(a, b, l)
	n.SetLinkOneWay(b, a, l)
}

// SetLinkOneWay sets the link from one host to another, and leaves the one back as it is.
func (n *Network) SetLinkOneWay(from, to *Host, l Link) {
	mustBeValid(l.validate())
	n.net.SetLink(n.mustHave(from), n.mustHave(to), simnet.Link(l))
}

// Partition separates two hosts: nothing that is sent from now on passes between them, in either
// direction. TCP sends it again, so connections last through a partition until a timeout, keep-alive or
// the user timeout (sock.UserTimeout; 15 min by default) ends them. Datagrams are lost.
func (n *Network) Partition(a, b *Host) {
	n.PartitionOneWay(a, b)
	n.PartitionOneWay(b, a)
}

// PartitionOneWay lets nothing pass from one host to another; the way back stays as it is.
func (n *Network) PartitionOneWay(from, to *Host) {
	n.net.Partition(n.mustHave(from), n.mustHave(to), true)
}

// Heal ends Partition and PartitionOneWay of two hosts, in both directions.
func (n *Network) Heal(a, b *Host) {
	n.net.Partition(n.mustHave(a), n.mustHave(b), false)
	n.net.Partition(n.mustHave(b), n.mustHave(a), false)
}

// mustHave returns the host below h, which must be one of n.
func (n *Network) mustHave(h *Host) *simnet.Host {
	switch {
	case h == nil:
		panic("looptest: the host is nil")
	case h.n != n:
		panic("looptest: the host " + h.String() + " is one of another Network")
	}
	return h.host
}
