//go:build unix

package loop_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// L10: a connection that moves again and again between package net and two loops, while both ends
// stream, loses no byte in either direction, whether the peer ends with FIN or with a reset.
func TestL10Move(t *testing.T) {
	skipWithLayer(t, needsDetach)
	testkit.CheckLeaks(t)
	rounds := 1
	if testkit.Long() {
		rounds = 10
	}
	for _, network := range []string{"tcp", "unix"} {
		for _, end := range []string{"FIN after all moves", "FIN", "reset", "Abort"} {
			for round := range rounds {
				t.Run(fmt.Sprintf("%s %s %d", network, end, round), func(t *testing.T) {
					seed := rand.Uint64()
					t.Logf("seed %d", seed)
					testMove(t, network, end, rand.New(rand.NewPCG(seed, 0)))
				})
			}
		}
	}
}

const moves = 50

func testMove(t *testing.T, network, end string, rng *rand.Rand) {
	g := group(t, loop.Config{Loops: 2, SlowCallback: -1, Logger: failOnLog(t)})
	own, peer := netPair(t, network)
	m := &mover{t: t, g: g, rng: rng, end: end, moved: make(chan bool), ended: make(chan error, 1)}
	limit := 1 << 30
	if end == "FIN" || end == "reset" {
		limit = rng.IntN(4 << 20)
	}
	sent, got := make(chan int, 1), make(chan int, 1)
	go func() { got <- readNumbered(t, peer) }()
	go func() { sent <- writeNumbered(peer, limit, end, m.moved) }()
	m.arrive(own, nil)
	err := receive(t, m.ended, "the end of the connection")
	strict := end == "FIN" || end == "FIN after all moves"
	peerSent, peerGot := receive(t, sent, "the peer's writer"), receive(t, got, "the peer's reader")
	if strict && (err != nil || m.got != peerSent || m.sent != peerGot) {
		t.Errorf("after %d moves: received %d of %d bytes, and the peer %d of %d; the end was %v, want all bytes and nil", m.count, m.got, peerSent, peerGot, m.sent, err)
	}
	if m.got > peerSent || peerGot > m.sent {
		t.Errorf("received %d of %d bytes, and the peer %d of %d", m.got, peerSent, peerGot, m.sent)
	}
	if end == "FIN after all moves" && m.count != moves {
		t.Errorf("the connection moved %d times, want %d", m.count, moves)
	}
}

// number is the byte at index i of each stream.
func number(i int) byte { return byte(i ^ i>>8 ^ i>>16) }

func numbered(from, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = number(from + i)
	}
	return b
}

// writeNumbered writes numbered bytes until limit is reached or stop is closed, ends the stream,
// and returns how many it has written.
func writeNumbered(c net.Conn, limit int, end string, stop <-chan bool) (sent int) {
	for sent < limit {
		select {
		case <-stop:
			limit = sent
			continue
		default:
		}
		n, err := c.Write(numbered(sent, min(20_000, limit-sent)))
		if sent += n; err != nil {
			return sent
		}
	}
	if end == "reset" {
		if tcp, ok := asTCP(c); ok {
			tcp.SetLinger(0)
		}
		c.Close()
	} else {
		c.(interface{ CloseWrite() error }).CloseWrite()
	}
	return sent
}

// readNumbered reads numbered bytes to the end, and returns how many.
func readNumbered(t *testing.T, c net.Conn) (got int) {
	b := make([]byte, 64<<10)
	for {
		n, err := c.Read(b)
		if !bytes.Equal(b[:n], numbered(got, n)) {
			t.Errorf("the peer received wrong bytes after %d", got)
			return got
		}
		if got += n; err != nil {
			return got
		}
	}
}

// A mover is the end of the connection that moves. At each time one goroutine has it.
type mover struct {
	t         *testing.T
	g         *loop.Group
	rng       *rand.Rand
	end       string
	got, sent int
	count     int
	moved     chan bool
	ended     chan error
}

func (m *mover) finish(err error) { m.ended <- err }

// take checks received bytes.
func (m *mover) take(b []byte) {
	if !bytes.Equal(b, numbered(m.got, len(b))) {
		m.t.Errorf("received wrong bytes after %d, in move %d", m.got, m.count)
	}
	m.got += len(b)
}

// write writes numbered bytes.
func (m *mover) write(w io.Writer) error {
	n, err := w.Write(numbered(m.sent, m.rng.IntN(50_000)))
	m.sent += n
	return err
}

// arrive continues with the connection: as net.Conn, or on a loop.
func (m *mover) arrive(c net.Conn, unread []byte) {
	if m.rng.IntN(3) == 0 && m.count < moves {
		go m.useNet(c, unread)
		return
	}
	if err := m.loop().Attach(c, unread, m.visit); err != nil {
		m.t.Errorf("Attach: %v", err)
		c.Close()
		m.finish(err)
	}
}

func (m *mover) arriveStream(s *sock.Stream, unread []byte) {
	if err := m.loop().AttachStream(s, unread, m.visit); err != nil {
		m.t.Errorf("AttachStream: %v", err)
		s.Close()
		m.finish(err)
	}
}

func (m *mover) loop() *loop.Loop { return m.g.Loops()[m.rng.IntN(2)] }

func (m *mover) nextMove() {
	if m.count++; m.count == moves {
		close(m.moved)
	}
}

// useNet uses the connection as net.Conn for a while, through a bufio.Reader.
func (m *mover) useNet(c net.Conn, unread []byte) {
	m.take(unread)
	r := bufio.NewReader(c)
	for range 1 + m.rng.IntN(3) {
		b := make([]byte, 1+m.rng.IntN(2000))
		n, err := r.Read(b)
		m.take(b[:n])
		if err == nil {
			err = m.write(c)
		}
		if err != nil {
			c.Close()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			m.finish(err)
			return
		}
	}
	m.nextMove()
	b, _ := r.Peek(r.Buffered())
	m.arrive(c, b)
}

// visit returns the handler for one stay on a loop.
func (m *mover) visit(*loop.Conn) loop.Handler {
	return &visit{mover: m, calls: 1 + m.rng.IntN(3)}
}

type visit struct {
	*mover
	calls   int  // of Data, before it leaves the loop
	leaving bool // it has called Detach
}

func (v *visit) Data(c *loop.Conn, b []byte) (int, error) {
	if v.leaving {
		v.t.Error("Data was called after Detach")
	}
	n := len(b)
	v.calls--
	if v.leaving = v.calls <= 0 && v.count < moves; v.leaving {
		n = v.rng.IntN(n + 1) // the rest is unread by Detach
	}
	v.take(b[:n])
	v.write(c)
	switch {
	case v.leaving:
		v.leave(c)
	case v.count == moves && v.end == "Abort":
		c.Abort()
	}
	return n, nil
}

func (v *visit) leave(c *loop.Conn) {
	var err error
	if v.rng.IntN(2) == 0 {
		err = c.Detach(func(nc net.Conn, unread []byte, err error) {
			v.left(unread, err, func() { v.arrive(nc, unread) })
		})
	} else {
		err = c.DetachStream(func(s *sock.Stream, unread []byte, err error) {
			v.left(unread, err, func() { v.arriveStream(s, unread) })
		})
	}
	if err != nil {
		v.leaving = false // Closed follows
	}
}

func (v *visit) left(unread []byte, err error, next func()) {
	v.nextMove()
	if err != nil {
		v.take(unread)
		v.finish(err)
		return
	}
	next()
}

func (v *visit) ReadClosed(c *loop.Conn) {
	v.write(c)
	c.Close()
}

func (v *visit) Closed(_ *loop.Conn, why error) {
	if !v.leaving {
		v.finish(why)
	}
}
