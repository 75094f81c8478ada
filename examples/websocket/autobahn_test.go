package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/loop/looptest"
)

// run is the client of a case. pause is called after each step: it returns when the server has
// nothing to do, on networks that report that.
func (tc testCase) run(t *testing.T, c *client, pause func()) {
	t.Helper()
	for _, s := range tc.steps {
		written := make(chan error, 1)
		go func() { written <- s.write(c) }() // while the echo of what came before is read
		for _, want := range s.want {
			c.expect(t, want)
		}
		if err := <-written; err != nil {
			t.Fatal(err)
		}
		pause()
	}
	if !tc.closes {
		c.Write(closing(1000, ""))
		c.expectClose(t, 1000)
		return
	}
	c.expectClose(t, tc.codes...)
}

func (s step) write(c net.Conn) error {
	if s.chop == frameByFrame {
		for _, f := range s.send {
			if _, err := c.Write(f); err != nil {
				return err
			}
		}
		return nil
	}
	var b []byte
	for _, f := range s.send {
		b = append(b, f...)
	}
	for len(b) > 0 {
		n := len(b)
		if s.chop > 0 {
			n = min(n, s.chop)
		}
		if _, err := c.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// autobahnOptions are those of a server that takes the longest message of the suite.
func autobahnOptions() options {
	o := defaults
	o.maxEchoBytes = 16 << 20
	return o
}

// All cases of the suite pass on real sockets.
func TestAutobahn(t *testing.T) {
	const number = 301 // of the cases in the categories 1 to 10
	all := cases()
	seen := map[string]bool{}
	for _, tc := range all {
		seen[tc.number] = true
	}
	if len(all) != number || len(seen) != number {
		t.Fatalf("there are %d cases with %d numbers, want %d", len(all), len(seen), number)
	}
	addr := start(t, autobahnOptions())
	for _, tc := range all {
		t.Run(tc.number, func(t *testing.T) {
			tc.run(t, open(t, dial(t, addr), echoPath), func() {})
		})
	}
}

// The cases pass wherever the network cuts the stream, and in whatever order a kernel reports: at
// every byte, and at random. Category 9 has more bytes than that needs.
func TestAutobahnCutAnywhere(t *testing.T) {
	for seed, link := range []looptest.Link{{SegmentBytes: 1}, {RandomSegments: true}, {RandomSegments: true}} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := looptest.Config{Seed: uint64(seed), Link: link}
				if seed == 2 {
					config.Adversity = looptest.Adverse()
				}
				sim := simulate(t, config, autobahnOptions())
				for _, tc := range cases() {
					if !strings.HasPrefix(tc.number, "9.") {
						sim.run(t, tc)
					}
				}
			})
		})
	}
}

// run runs a case. After each step but the last one, the client has got nothing more than it
// expects: no failure, for example.
func (s *simulation) run(t *testing.T, tc testCase) {
	conn := s.dial(t)
	defer conn.Close()
	c := open(t, conn, echoPath)
	steps := 0
	tc.run(t, c, func() {
		time.Sleep(time.Second) // until the server has nothing to do
		steps++
		if n := conn.Unread() + c.in.Buffered(); n > 0 && steps < len(tc.steps) {
			t.Errorf("%s: after step %d, the client has %d more bytes than expected", tc.number, steps, n)
		}
	})
	if t.Failed() {
		t.Fatalf("case %s has failed", tc.number)
	}
}
