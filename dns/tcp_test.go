package dns

import (
	"errors"
	"net"
	"os"
	"slices"
	"testing"
	"time"
)

// A truncated answer is asked for again over TCP, however its bytes arrive there.
func TestTruncated(t *testing.T) {
	truncated := func(q []byte) []answer { return []answer{answerTo(q, forgedAddr).truncated()} }
	for name, c := range map[string]struct {
		tcp     func(c net.Conn, q []byte)
		ok      bool
		timeout bool
	}{
		"whole": {tcp: honestTCP, ok: true},
		"single bytes": {tcp: func(c net.Conn, q []byte) {
			for _, b := range frame(answerTo(q, trueAddr)) {
				c.Write([]byte{b})
				time.Sleep(10 * time.Millisecond)
			}
		}, ok: true},
		"strays first": {tcp: func(c net.Conn, q []byte) {
			wrong := answerTo(q, forgedAddr)
			wrong[0]++
			c.Write(slices.Concat(frame(wrong), frame(nil), frame(answer{0}), frame(answerTo(q, trueAddr))))
		}, ok: true},
		"stalled":        {tcp: func(c net.Conn, q []byte) { c.Write(frame(answerTo(q, trueAddr))[:20]) }, timeout: true},
		"silent":         {tcp: func(net.Conn, []byte) {}, timeout: true},
		"cut":            {tcp: func(c net.Conn, q []byte) { c.Write(frame(answerTo(q, trueAddr))[:20]); c.Close() }},
		"closed":         {tcp: func(c net.Conn, _ []byte) { c.Close() }},
		"truncated too":  {tcp: func(c net.Conn, q []byte) { c.Write(frame(answerTo(q, trueAddr).truncated())) }},
		"strays forever": {tcp: func(c net.Conn, _ []byte) { c.Write(make([]byte, 10000)) }},
		"refused":        {},
	} {
		t.Run(name, func(t *testing.T) {
			s := &testServer{udp: truncated, tcp: c.tcp}
			onTestNet(t, func(n *testNet) {
				r := n.ask("www.example.com")
				if !c.ok {
					if len(r.steps) != 2 || !r.steps[0].TCP || r.err == nil || c.timeout != errors.Is(r.err, os.ErrDeadlineExceeded) {
						t.Errorf("%v, steps %v", r.err, r.steps)
					}
					return
				}
				n.wantAddr(r, trueAddr)
				if !r.tcp || len(r.steps) > 0 {
					t.Errorf("over TCP %v, steps %v", r.tcp, r.steps)
				}
			}, s)
		})
	}
}

// Queries over TCP use one connection, whose responses may come in any order.
func TestPipelined(t *testing.T) {
	const queries = 50
	var waiting [][]byte
	s := &testServer{udp: honest, tcp: func(c net.Conn, q []byte) {
		if waiting = append(waiting, q); len(waiting) == queries {
			for _, q := range slices.Backward(waiting) {
				honestTCP(c, q)
			}
			waiting = nil
		}
	}}
	onTestNet(t, func(n *testNet) {
		n.policy.tcp = true
		replies := make(chan reply, queries)
		n.run(func() {
			for range queries {
				n.start("www.example.com", replies)
			}
		})
		for range queries {
			n.wantAddr(<-replies, trueAddr)
		}
		if open := n.client.Descriptors(); open != 1 || s.queries != [2]int{0, queries} {
			t.Errorf("%d connections, %v queries", open, s.queries)
		}
		time.Sleep(streamIdle + time.Second)
		if open := n.client.Descriptors(); open != 0 {
			t.Errorf("%d connections are open after streamIdle", open)
		}
	}, s)
}

// A server may close a connection that has been used while a query is on its way: it is asked again.
func TestStreamReopened(t *testing.T) {
	s := &testServer{udp: honest}
	s.tcp = func(c net.Conn, q []byte) {
		if s.queries[1] == 2 {
			c.Close()
			return
		}
		honestTCP(c, q)
	}
	onTestNet(t, func(n *testNet) {
		n.policy.tcp = true
		n.wantAddr(n.ask("www.example.com"), trueAddr)
		r := n.ask("www.example.com")
		n.wantAddr(r, trueAddr)
		if len(r.steps) > 0 || s.queries[1] != 3 {
			t.Errorf("steps %v, %d queries", r.steps, s.queries[1])
		}
	}, s)
}

// A connection on which a query has timed out is not used again, if nothing else has arrived on it.
func TestSilentStream(t *testing.T) {
	var silent net.Conn
	s := &testServer{udp: honest, tcp: func(c net.Conn, q []byte) {
		if silent == nil {
			silent = c
		}
		if c != silent {
			honestTCP(c, q)
		}
	}}
	onTestNet(t, func(n *testNet) {
		n.policy.tcp = true
		if r := n.ask("www.example.com"); len(r.steps) != 1 {
			t.Errorf("steps %v", r.steps)
		} else {
			n.wantAddr(r, trueAddr)
		}
	}, s)
}
