package simnet

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// The trace has the last lines, oldest first, and reports how many it does not have.
func TestTraceRing(t *testing.T) {
	n := New(Config{TraceEvents: 3})
	for i := range 3 {
		n.Tracef("line %d", i)
	}
	if got := n.Trace(); strings.Count(got, "\n") != 3 || strings.Contains(got, "earlier") || !strings.Contains(got, "line 0\n") {
		t.Errorf("three lines: %q", got)
	}
	for i := range 4 {
		n.Tracef("line %d", i+3)
	}
	lines := strings.Split(strings.TrimSpace(n.Trace()), "\n")
	if len(lines) != 4 || !strings.Contains(lines[0], "4 earlier lines") {
		t.Fatalf("seven lines of which three are kept: %q", lines)
	}
	for i, l := range lines[1:] {
		if !strings.HasSuffix(l, fmt.Sprint("line ", i+4)) {
			t.Errorf("line %d is %q", i, l)
		}
	}
}

func TestTraceOff(t *testing.T) {
	n := New(Config{TraceEvents: -1})
	n.Tracef("a line")
	if got := n.Trace(); got != "" {
		t.Errorf("a trace that is off: %q", got)
	}
	if n := New(Config{}); n.trace.limit != defaultTraceEvents {
		t.Errorf("%d lines by default", n.trace.limit)
	}
}

// Every fate has a text, and every kind a name.
func TestTraceNames(t *testing.T) {
	for f := fateSent; f <= fateFull; f++ {
		if int(f) >= len(fates) || fates[f] == "" {
			t.Errorf("fate %d has no text", f)
		}
	}
}

// The trace has each segment: when, between which addresses, what, and its fate.
func TestTraceOfSegments(t *testing.T) {
	bubble(t, Config{Link: Link{Latency: time.Millisecond}}, func(t *testing.T, n *Network) {
		a, b := n.Host(), n.Host()
		client, server := connect(t, a, b)
		n.SetRule(first(KindData, 1, Drop))
		write(t, client, "hello")
		read(t, server)
		n.Partition(a, b, true)
		u := listenPacket(t, a)
		u.WriteTo([]byte("xyz"), listenPacket(t, b).LocalAddr())
		n.Partition(a, b, false)
		n.Tracef("my %s", "own")
		trace := n.Trace()
		last := -1
		for _, want := range []string{
			"10.0.0.1:32768→10.0.0.2:32768 SYN: sent, until 1.000",
			"10.0.0.1:32768→10.0.0.2:32768 SYN: arrived",
			"10.0.0.2:32768→10.0.0.1:32768 SYN-ACK: sent",
			"data [0,5): lost: rule",
			"data [0,5), retransmission 1: sent",
			"data [0,5), retransmission 1: arrived",
			"partition from 10.0.0.1 to 10.0.0.2\n",
			"datagram of 3 B: lost: partition",
			"end of the partition from 10.0.0.1 to 10.0.0.2\n",
			"my own\n",
		} {
			i := strings.Index(trace, want)
			if i <= last {
				t.Errorf("the trace does not have %q, or too early:\n%s", want, trace)
			}
			last = i
		}
	})
}

func TestTraceAllocatesNothing(t *testing.T) {
	n := New(Config{TraceEvents: 10})
	p := n.newPacketLocked()
	for range 10 {
		n.traceLocked(p, fateSent, 0)
	}
	if allocs := testing.AllocsPerRun(100, func() { n.traceLocked(p, fateSent, 0) }); allocs != 0 {
		t.Errorf("%v allocations for a line", allocs)
	}
}

// Keep-alive has one line for each end that probes. Other events in between have lines of their
// own, and probes after them begin new lines.
func TestTraceFoldsProbes(t *testing.T) {
	bubble(t, Config{TraceEvents: 20}, func(t *testing.T, n *Network) {
		a, b := n.Host(), n.Host()
		x, _ := connect(t, a, b)
		y, _ := connect(t, a, b)
		for _, c := range []*Conn{x, y} {
			must(t, c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 9}))
		}
		time.Sleep(time.Minute + time.Second/2)
		write(t, x, "x")
		time.Sleep(time.Minute + time.Second/4)
		trace := n.Trace()
		if lines := strings.Count(trace, "\n"); lines != 2*2+2+1+2 || strings.Contains(trace, "earlier lines") {
			t.Errorf("%d lines, want those of two connections, of data, and two of probes before and after it:\n%s", lines, trace)
		}
		before, after, _ := strings.Cut(trace, "data [0,1)")
		for part, s := range map[string]string{"before": before, "after": after} {
			if strings.Count(s, "probe: arrived; 59 more until") != 2 {
				t.Errorf("the trace %s the data does not have two lines of 60 probes each:\n%s", part, trace)
			}
		}
	})
}

// What Tracef formats may call the network.
func TestTracefOfNetwork(t *testing.T) {
	n := New(Config{Manual: true})
	defer n.Close()
	n.Tracef("%v", clockText{n})
	if want := n.Now().String(); !strings.Contains(n.Trace(), want) {
		t.Errorf("%q does not contain %q", n.Trace(), want)
	}
}

type clockText struct{ n *Network }

func (c clockText) String() string { return c.n.Now().String() }
