package simnet

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// defaultTraceEvents is used where Config.TraceEvents is 0.
const defaultTraceEvents = 10_000

// A trace has the last lines of what happened, in a ring. Recording a line of the network's own
// formats nothing and, once the ring is full, allocates nothing.
type trace struct {
	limit int // lines; 0 or less: no trace
	lines []traceLine
	next  int   // where the next line goes, when lines has reached its limit
	total int64 // lines ever recorded
}

// A traceLine is one event: a text, or what happened to a packet.
type traceLine struct {
	at       int64
	until    int64  // when a packet arrives, or is sent again; 0: it does not
	text     string // or the name of a Unix socket
	from, to netip.AddrPort
	offset   int64
	bytes    int32
	tries    uint8
	kind     packetKind
	fate     fate
	unix     bool
	repeats  int64 // how many equal events followed
	lastAt   int64 // the last of them
}

// maxFoldLines is how many of the last lines are compared to a probe, so that keep-alive of up to so many
// connections in which nothing else happens does not displace what happened before.
const maxFoldLines = 32

// A fate is what happens to a packet.
type fate uint8

const (
	noFate fate = iota // the line is a text
	fateSent
	fateArrived
	fateLost
	fateCut
	fateDropped
	fateDuplicated
	fateReset
	fateFault
	fateRefused
	fateHostDown
	fateNoHost
	fateNoSocket
	fateFull
)

var fates = [...]string{
	fateSent:       "sent",
	fateArrived:    "arrived",
	fateLost:       "lost",
	fateCut:        "lost: partition",
	fateDropped:    "lost: rule",
	fateDuplicated: "duplicated",
	fateReset:      "connection reset: rule",
	fateFault:      "connection reset: fault",
	fateRefused:    "refused: rule",
	fateHostDown:   "lost: host is down",
	fateNoHost:     "lost: no host has the address",
	fateNoSocket:   "lost: no socket has the address",
	fateFull:       "lost: receive buffer is full",
}

func (t *trace) add(l traceLine) {
	if t.limit <= 0 || t.fold(&l) {
		return
	}
	t.total++
	if len(t.lines) < t.limit {
		t.lines = append(t.lines, l)
		return
	}
	t.lines[t.next] = l
	t.next = (t.next + 1) % t.limit
}

// fold counts a probe at the line of an equal one, if only probes are between them. It reports whether it
// did.
func (t *trace) fold(l *traceLine) bool {
	if !l.folds() {
		return false
	}
	for i := range min(len(t.lines), maxFoldLines) {
		x := &t.lines[(t.next+len(t.lines)-1-i)%len(t.lines)]
		if !x.folds() {
			return false
		}
		if x.equals(l) {
			x.repeats++
			x.lastAt = l.at
			return true
		}
	}
	return false
}

// folds reports whether the line is one of those that keep-alive repeats for ever.
func (l *traceLine) folds() bool { return l.fate != noFate && l.kind == probePacket }

// equals reports whether the lines differ at most in their times.
func (l *traceLine) equals(m *traceLine) bool {
	a, b := *l, *m
	a.at, a.until, a.repeats, a.lastAt = b.at, b.until, b.repeats, b.lastAt
	return a == b
}

func (t *trace) String() string {
	var b strings.Builder
	if lost := t.total - int64(len(t.lines)); lost > 0 {
		fmt.Fprintf(&b, "(%d earlier lines are not kept: Config.TraceEvents)\n", lost)
	}
	for i := range t.lines {
		t.lines[(t.next+i)%len(t.lines)].write(&b)
	}
	return b.String()
}

func (l *traceLine) write(b *strings.Builder) {
	fmt.Fprintf(b, "%14v ", time.Duration(l.at))
	switch {
	case l.fate == noFate:
		b.WriteString(l.text)
		b.WriteByte('\n')
		return
	case l.unix:
		fmt.Fprintf(b, "%q %v", l.text, l.kind)
	default:
		fmt.Fprintf(b, "%v→%v %v", l.from, l.to, l.kind)
	}
	switch l.kind {
	case dataPacket:
		fmt.Fprintf(b, " [%d,%d)", l.offset, l.offset+int64(l.bytes))
	case datagramPacket:
		fmt.Fprintf(b, " of %d B", l.bytes)
	case ackPacket, finPacket, urgentPacket:
		fmt.Fprintf(b, " %d", l.offset)
	}
	if l.tries > 0 {
		fmt.Fprintf(b, ", retransmission %d", l.tries)
	}
	b.WriteString(": ")
	b.WriteString(fates[l.fate])
	if l.until != 0 {
		fmt.Fprintf(b, ", until %v", time.Duration(l.until))
	}
	if l.repeats > 0 {
		fmt.Fprintf(b, "; %d more until %v", l.repeats, time.Duration(l.lastAt))
	}
	b.WriteByte('\n')
}

// traceLocked records what happens to a packet. until is when that ends, or 0.
func (n *Network) traceLocked(p *packet, f fate, until int64) {
	if n.trace.limit <= 0 {
		return
	}
	l := traceLine{
		at: n.nowLocked(), until: until, from: p.src.ip, to: p.dst.ip,
		offset: p.seq, bytes: int32(p.length()), tries: uint8(min(p.tries, 255)), kind: p.kind, fate: f, unix: p.unix,
	}
	if p.unix {
		l.text = p.src.name + p.dst.name // one of the two sockets has no name, usually
	}
	n.trace.add(l)
}

// tracefLocked is Tracef; n.mu must be held.
func (n *Network) tracefLocked(format string, args ...any) {
	if n.trace.limit > 0 {
		n.trace.add(traceLine{at: n.nowLocked(), text: fmt.Sprintf(format, args...)})
	}
}

// Tracef adds a line to the trace.
func (n *Network) Tracef(format string, args ...any) {
	if n.trace.limit <= 0 {
		return
	}
	text := fmt.Sprintf(format, args...) // a String method may need the lock
	n.mu.Lock()
	defer n.mu.Unlock()
	n.trace.add(traceLine{at: n.nowLocked(), text: text})
}

// Trace returns what happened, one event a line: the time since the network began, the segment, its
// fate. It has the last Config.TraceEvents lines.
func (n *Network) Trace() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.trace.String()
}
