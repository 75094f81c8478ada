package looptest

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/pollux-io/pollux/internal/simnet"
)

// SegmentKind is the kind of a Segment.
type SegmentKind uint8

// The kinds of segments. Those of TCP are as in RFC 9293; connections of Unix sockets have none.
const (
	SYN         SegmentKind = iota // a client asks for a connection
	SYNACK                         // a listener accepts it
	Data                           // bytes of a stream
	ACK                            // acknowledges the bytes before Offset
	FIN                            // the end of a stream
	Urgent                         // an urgent byte of a stream
	RST                            // resets the connection
	Probe                          // asks for an ACK: keep-alive, or whether the receiver takes bytes again
	Datagram                       // a UDP datagram
	Unreachable                    // the answer of ICMP to a datagram: no socket has its address
)

// String returns the name of the kind, as it is in the trace.
func (k SegmentKind) String() string {
	if k > Unreachable {
		return fmt.Sprintf("SegmentKind(%d)", uint8(k))
	}
	return simnet.Kind(k).String()
}

// A Segment is a segment of a TCP connection, or a UDP datagram. A Rule gets it before its link does.
type Segment struct {
	Kind SegmentKind
	// FromHost sends it, and ToHost receives it: nil, if no host has the address To.
	FromHost, ToHost *Host
	// From and To are the addresses of the sockets.
	From, To netip.AddrPort
	// Offset is the position, in its stream, of the first byte of Data, or of the FIN; for an ACK, that
	// of the next byte that the receiver expects. It begins at 0, in each direction.
	Offset int64
	// Data has the bytes of a Data or Urgent segment, or of a Datagram. It is valid during the call, and
	// must not be changed.
	Data []byte
	// Attempt is 0, or the number of the retransmission.
	Attempt int
}

// A Verdict is what becomes of a segment. The zero Verdict is Pass.
type Verdict struct{ v simnet.Verdict }

var (
	// Pass lets the segment pass, into the link.
	Pass = Verdict{simnet.Pass}
	// Drop loses it. TCP sends it again, and the Rule gets it again. Connecting to a
	// host whose SYN is dropped each time ends after a timeout: that of the context, or 127 s.
	Drop = Verdict{simnet.Drop}
	// Reset resets the connection instead, at both ends. A datagram is lost.
	Reset = Verdict{simnet.Reset}
	// Refuse answers a SYN, or a datagram, as a host without a socket at that address does: connecting
	// fails with ECONNREFUSED. A connection that exists is reset.
	Refuse = Verdict{simnet.Refuse}
)

// Delay lets the segment pass, and adds d to the latency of the link. What follows it in the same stream
// waits for it; other datagrams overtake it. It panics if d is negative.
func Delay(d time.Duration) Verdict {
	if d < 0 {
		panic("looptest: Delay called with " + d.String() + "; it must not be negative")
	}
	return Verdict{simnet.Delay(d)}
}

// ResetAfter lets the first n bytes of a Data segment pass, and then resets the connection. It panics if
// n is negative.
func ResetAfter(n int) Verdict {
	if n < 0 {
		panic("looptest: ResetAfter called with a negative number of bytes")
	}
	return Verdict{simnet.ResetAfter(n)}
}

// SetRule has f decide what becomes of each segment and datagram; nil removes the function. f also gets
// what a host sends to itself, but not what Unix sockets send. It is called with locks of the network
// held: it must return soon, keep nothing of the Segment, and call no method of a Network, a Host, a
// Conn or a loop, which panics. If it does not return, because of a panic or of testing.T.FailNow, the
// network is closed: a rule records what it finds in a variable of the test, or calls t.Error.
func (n *Network) SetRule(f func(*Segment) Verdict) {
	if f == nil {
		n.net.SetRule(nil)
		return
	}
	var s Segment // one call at a time
	n.net.SetRule(func(seg *simnet.Segment) simnet.Verdict {
		s = Segment{
			Kind: SegmentKind(seg.Kind), FromHost: n.hostOf(seg.FromHost), ToHost: n.hostOf(seg.ToHost),
			From: seg.From, To: seg.To, Offset: seg.Offset, Data: seg.Data, Attempt: seg.Attempt,
		}
		return f(&s).v
	})
}
