package simtest

import (
	"fmt"
	"strings"
	"time"

	"github.com/pollux-io/pollux/internal/simnet"
)

// program determines everything that a run does. It is drawn from a seed, and shrunk and printed if it
// fails.
type program struct {
	seed    uint64 // of what the network decides
	traced  bool   // its outcome has a trace, even if nothing has failed
	network network
	setting setting
	conns   []connection
	steps   []step
}

// network is the part of the network's configuration that is drawn.
type network struct {
	peerHosts int
	link      simnet.Link // between two hosts
	faults    simnet.Faults
	adversity int // index of adversities
}

// setting is the part of the groups' configuration that is drawn. All groups have the same.
type setting struct {
	groups, loops, high, low, maxUnsent, maxUnread, readBudget, idleBuffers, maxConns int
	linger                                                                            time.Duration
}

type kind int

const (
	accepted   kind = iota // end 0 is accepted by a group, end 1 is a peer
	dialed                 // end 0 is dialed by a group, end 1 is a peer
	loopToLoop             // end 0 is accepted by a group, end 1 dialed by the next
	relayed                // both ends are peers; a group relays between them
	fanned                 // end 0 is accepted by a group and a member of its Fanout, end 1 is a peer
	kinds
)

func (k kind) String() string {
	return [...]string{"accepted", "dialed", "loop to loop", "relayed", "fanned out"}[k]
}

// connection describes a connection; the steps are those of the program.
type connection struct {
	kind            kind
	network         string
	group           int
	peerHost        int
	small           bool // small socket buffers
	noReadClosed    [2]bool
	closeOnShutdown [2]bool
	first           int  // the end that is closed first, if the steps have left both open
	halfFirst       bool // it half-closes first
}

// step is an operation, in the order of the program.
type step struct {
	after time.Duration // since the step before
	conn  int           // noConn: the step is the network's or a group's
	end   int
	op    op
	n     int
	from  from
}

const noConn = -1

// Values of n for opEcho.
const (
	echoOff = iota
	echoAll
	echoWhole
)

type op int

const (
	// For both kinds of ends.
	opOpen  op = iota // connect
	opWrite           // n bytes
	// For a peer.
	opRead      // n bytes more
	opSlow      // from now on reads at most n bytes each millisecond
	opFIN       // after everything that is queued
	opRST       // immediately
	opHardClose // close immediately, even if bytes are unread
	opCutAt     // reset when it has read n bytes more
	// For a connection of the loop.
	opWritev
	opWriteOwned
	opWriteShared
	opConsume  // Data consumes at most n bytes, all if n is zero, nothing if n is negative
	opTakeOnly // Data consumes at most n bytes, and pauses if it leaves some
	opEcho     // Data writes as many bytes as it consumes; if n is echoWhole, it consumes as many as it can write
	opPause
	opResume
	opSetHandler
	opMove // to the next loop, of another group if there is one, by DetachStream and AttachStream
	opBackpressure
	opWatermarks
	opLongTimeouts // that do not expire
	opCloseWrite
	opClose
	opCloseWith
	opAbort
	opAbortWith
	opDetach // to a net.Conn, which continues as a peer
	opDataError
	opPanic
	opIdleTimeout  // n microseconds
	opReadDeadline // n microseconds from now
	// For the network, or a group.
	opPartition  // from host n to the server's host
	opPartitionB // from the server's host to host n
	opHeal
	opCrash       // peer host n
	opDescriptors // at most n more on the server's host; no limit if zero
	opTimer       // AfterFunc of n microseconds
	opTimerStop
	opTimerReset
	opSend     // a message of n bytes by the Fanout
	opDatagram // n bytes
	opEach     // visits all connections
	opShutdown // of group n
	opCut      // the end of the context of the Shutdown of group n
	ops
)

var opNames = [ops]string{
	"open", "Write", "read", "read slowly", "FIN", "RST", "close", "reset after reading", "Writev", "WriteOwned", "WriteShared", "consume", "consume and pause", "echo",
	"Pause", "Resume", "SetHandler", "move", "SetBackpressure", "SetWatermarks", "timeouts of an hour", "CloseWrite", "Close", "CloseWith", "Abort", "AbortWith", "Detach",
	"Data's error", "panic", "SetIdleTimeout", "SetReadDeadline", "partition from host", "partition to host", "heal", "crash host", "descriptors", "AfterFunc", "Timer.Stop", "Timer.Reset",
	"Fanout.Send", "datagram", "Each", "Shutdown", "end of Shutdown's context",
}

func (o op) String() string { return opNames[o] }

// ends reports whether o makes a connection of the loop end.
func (o op) ends() bool { return o >= opClose && o <= opReadDeadline }

// from is where a step of a connection of the loop is done.
type from int

const (
	fromScript    from = iota // on the script's goroutine
	fromCallback              // in the next callback, if there is one before the end
	fromRun                   // by Loop.Run
	fromOtherLoop             // on another loop, by Loop.Run
	fromTimer                 // by Loop.AfterFunc
	fromWorker                // by Offload
	fromDone                  // in the second half of an Offload on the connection: a callback, if there is one before the end
	froms
)

func (f from) String() string {
	return [...]string{"", " in a callback", " by Run", " on another loop", " by AfterFunc", " by Offload", " in Offload's done"}[f]
}

func (s step) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "+%-8v ", s.after)
	if s.conn != noConn {
		fmt.Fprintf(&b, "conn %d end %d: ", s.conn, s.end)
	}
	b.WriteString(s.op.String())
	if s.n != 0 {
		fmt.Fprintf(&b, " %d", s.n)
	}
	b.WriteString(s.from.String())
	return b.String()
}

func (c connection) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v, %s, group %d, peer's host %d, end %d ends first", c.kind, c.network, c.group, c.peerHost, c.first)
	for _, x := range []struct {
		is   bool
		what string
	}{
		{c.small, "small buffers"},
		{c.noReadClosed[0], "0 has no ReadClosed"},
		{c.noReadClosed[1], "1 has no ReadClosed"},
		{c.closeOnShutdown[0], "0 closes on Shutdown"},
		{c.closeOnShutdown[1], "1 closes on Shutdown"},
		{c.halfFirst, "half-closes first"},
	} {
		if x.is {
			b.WriteString(", " + x.what)
		}
	}
	return b.String()
}

func (p *program) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "network %+v\ngroups %+v", p.network, p.setting)
	for _, i := range p.usedConns() {
		fmt.Fprintf(&b, "\nconn %d: %v", i, p.conns[i])
	}
	for _, s := range p.steps {
		fmt.Fprintf(&b, "\n\t%v", s)
	}
	return b.String()
}
