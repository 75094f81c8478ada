package exchange

import (
	"errors"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
)

// A truncated answer is asked for again over TCP, however its bytes arrive there.
func TestTruncated(t *testing.T) {
	truncated := func(q []byte) []exchangetest.Message {
		return []exchangetest.Message{exchangetest.AnswerTo(q, exchangetest.ForgedAddr).Truncated()}
	}
	for name, c := range map[string]struct {
		tcp     func(c net.Conn, q []byte)
		ok      bool
		timeout bool
		dropped uint64
	}{
		"whole": {tcp: exchangetest.HonestTCP, ok: true},
		"single bytes": {tcp: func(c net.Conn, q []byte) {
			for _, b := range exchangetest.Frame(exchangetest.AnswerTo(q, exchangetest.TrueAddr)) {
				c.Write([]byte{b})
				time.Sleep(10 * time.Millisecond)
			}
		}, ok: true},
		"strays first": {tcp: func(c net.Conn, q []byte) {
			wrong := exchangetest.AnswerTo(q, exchangetest.ForgedAddr)
			wrong[0]++
			c.Write(slices.Concat(exchangetest.Frame(wrong), exchangetest.Frame(nil), exchangetest.Frame(exchangetest.Message{0}), exchangetest.Frame(exchangetest.AnswerTo(q, exchangetest.TrueAddr))))
		}, ok: true, dropped: 3},
		"stalled": {tcp: func(c net.Conn, q []byte) {
			c.Write(exchangetest.Frame(exchangetest.AnswerTo(q, exchangetest.TrueAddr))[:20])
		}, timeout: true},
		"silent": {tcp: func(net.Conn, []byte) {}, timeout: true},
		"cut": {tcp: func(c net.Conn, q []byte) {
			c.Write(exchangetest.Frame(exchangetest.AnswerTo(q, exchangetest.TrueAddr))[:20])
			c.Close()
		}},
		"closed": {tcp: func(c net.Conn, _ []byte) { c.Close() }},
		"truncated too": {tcp: func(c net.Conn, q []byte) {
			c.Write(exchangetest.Frame(exchangetest.AnswerTo(q, exchangetest.TrueAddr).Truncated()))
		}},
		"strays forever": {tcp: func(c net.Conn, _ []byte) { c.Write(make([]byte, 10000)) }},
		"refused":        {},
	} {
		t.Run(name, func(t *testing.T) {
			s := &exchangetest.Server{UDP: truncated, TCP: c.tcp}
			onTestNet(t, func(n *testNet) {
				r := n.ask("www.example.com")
				if !c.ok {
					if len(r.Steps) != 2 || !r.Steps[0].TCP || r.Err == nil || c.timeout != errors.Is(r.Err, os.ErrDeadlineExceeded) {
						t.Errorf("%v, steps %v", r.Err, r.Steps)
					}
					return
				}
				n.wantAddr(r, exchangetest.TrueAddr)
				if dropped := n.x.dropped.Load(); !r.TCP || len(r.Steps) > 0 || dropped != c.dropped {
					t.Errorf("over TCP %v, steps %v, %d messages dropped, want %d", r.TCP, r.Steps, dropped, c.dropped)
				}
			}, s)
		})
	}
}

// Queries over TCP use one connection, whose responses may come in any order.
func TestPipelined(t *testing.T) {
	const queries = 50
	var waiting [][]byte
	s := &exchangetest.Server{UDP: exchangetest.Honest, TCP: func(c net.Conn, q []byte) {
		if waiting = append(waiting, q); len(waiting) == queries {
			for _, q := range slices.Backward(waiting) {
				exchangetest.HonestTCP(c, q)
			}
			waiting = nil
		}
	}}
	onTestNet(t, func(n *testNet) {
		n.policy.TCP = true
		replies := make(chan Reply, queries)
		n.Run(func() {
			for range queries {
				n.start("www.example.com", replies)
			}
		})
		for range queries {
			n.wantAddr(<-replies, exchangetest.TrueAddr)
		}
		if open := n.Client.Descriptors(); open != 1 || s.Queries != [2]int{0, queries} {
			t.Errorf("%d connections, %v queries", open, s.Queries)
		}
		time.Sleep(streamIdle + time.Second)
		if open := n.Client.Descriptors(); open != 0 {
			t.Errorf("%d connections are open after streamIdle", open)
		}
	}, s)
}

// A server may close a connection that has been used while a query is on its way: it is asked again.
func TestStreamReopened(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Honest}
	s.TCP = func(c net.Conn, q []byte) {
		if s.Queries[1] == 2 {
			c.Close()
			return
		}
		exchangetest.HonestTCP(c, q)
	}
	onTestNet(t, func(n *testNet) {
		n.policy.TCP = true
		n.wantAddr(n.ask("www.example.com"), exchangetest.TrueAddr)
		r := n.ask("www.example.com")
		n.wantAddr(r, exchangetest.TrueAddr)
		if len(r.Steps) > 0 || s.Queries[1] != 3 {
			t.Errorf("steps %v, %d queries", r.Steps, s.Queries[1])
		}
	}, s)
}

// A connection on which a query has timed out is not used again, if nothing else has arrived on it.
func TestSilentStream(t *testing.T) {
	var silent net.Conn
	s := &exchangetest.Server{UDP: exchangetest.Honest, TCP: func(c net.Conn, q []byte) {
		if silent == nil {
			silent = c
		}
		if c != silent {
			exchangetest.HonestTCP(c, q)
		}
	}}
	onTestNet(t, func(n *testNet) {
		n.policy.TCP = true
		if r := n.ask("www.example.com"); len(r.Steps) != 1 {
			t.Errorf("steps %v", r.Steps)
		} else {
			n.wantAddr(r, exchangetest.TrueAddr)
		}
	}, s)
}
