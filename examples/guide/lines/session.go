package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strconv"
	"time"

	"github.com/pollux-io/pollux/loop"
)

const (
	maxLine     = 1 << 10          // bytes, without the newline
	lineTimeout = 10 * time.Second // from the beginning of a line to its end
	idleTimeout = 5 * time.Minute
	hashRounds  = 100_000
	maxCount    = 1_000_000
)

var (
	newline        = []byte("\n")
	errLineTooLong = errors.New("the line is too long")
)

// session is one connection. Only its own callbacks touch it, one at a time.
type session struct {
	peer   net.Addr // for the log
	busy   bool     // a command is not answered yet
	ending bool     // the server is shutting down
	timed  bool     // the deadline for a line is set

	next, last int // the numbers that COUNT still has to send
}

// newSession is called for each connection.
func newSession(*loop.Conn) loop.Handler { return &session{} }

// Opened keeps the peer's address: after the peer has reset the connection,
// RemoteAddr returns nil.
func (s *session) Opened(c *loop.Conn) {
	s.peer = c.RemoteAddr()
	c.SetIdleTimeout(idleTimeout)
}

// Data executes the complete lines in b and leaves the rest.
func (s *session) Data(c *loop.Conn, b []byte) (consumed int, err error) {
	for !s.busy {
		line, rest, whole := bytes.Cut(b[consumed:], newline)
		if len(line) > maxLine {
			io.WriteString(c, "error: the line is too long\n")
			return consumed, errLineTooLong // closes, once the answer is sent
		}
		if !whole {
			s.expectRest(c, len(line) > 0)
			return consumed, nil // the next call gets the rest again, and more
		}
		consumed = len(b) - len(rest)
		s.expectRest(c, false)
		if err := s.command(c, string(bytes.TrimSuffix(line, []byte("\r")))); err != nil {
			return consumed, err
		}
	}
	return consumed, nil
}

// expectRest sets the read deadline when a line has begun, and clears it at its end.
func (s *session) expectRest(c *loop.Conn, begun bool) {
	switch {
	case begun && !s.timed:
		c.SetReadDeadline(time.Now().Add(lineTimeout))
	case !begun && s.timed:
		c.SetReadDeadline(time.Time{})
	}
	s.timed = begun
}

// command executes one line.
func (s *session) command(c *loop.Conn, line string) error {
	name, argument, _ := bytes.Cut([]byte(line), []byte(" "))
	switch string(name) {
	case "ECHO":
		_, err := fmt.Fprintf(c, "%s\n", argument)
		return err
	case "HASH":
		return s.offload(c, func() string { return hash(argument) })
	case "STATS":
		return s.offload(c, func() string { return figures(c.Loop().Group().Stats()) })
	case "COUNT":
		n, err := strconv.Atoi(string(argument))
		if err != nil || n < 1 || n > maxCount {
			_, err := fmt.Fprintf(c, "error: COUNT takes a number from 1 to %d\n", maxCount)
			return err
		}
		s.begin(c)
		s.next, s.last = 1, n
		s.Drained(c)
		return nil
	case "QUIT":
		return c.Close()
	}
	_, err := fmt.Fprintf(c, "error: unknown command %q; use ECHO, HASH, COUNT, STATS or QUIT\n", name)
	return err
}

// begin stops further commands until end.
func (s *session) begin(c *loop.Conn) {
	s.busy = true
	c.Pause()
}

// end continues with the next command, or closes if the server is shutting down.
func (s *session) end(c *loop.Conn) {
	s.busy = false
	if s.ending {
		c.Close()
		return
	}
	c.Resume()
}

// offload runs work, which may block, off the loop and sends its result.
func (s *session) offload(c *loop.Conn, work func() string) error {
	err := loop.Offload(c,
		func() (string, error) { return work(), nil },
		func(answer string, err error) { // a callback of c, on the loop again
			if err != nil { // work has panicked
				log.Printf("%v: %v", s.peer, err)
				answer = "error: internal error"
			}
			fmt.Fprintln(c, answer)
			s.end(c)
		})
	if errors.Is(err, loop.ErrOffloadFull) {
		_, err := io.WriteString(c, "error: busy; ask again later\n")
		return err
	}
	if err == nil {
		s.begin(c)
	}
	return err
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	for range hashRounds {
		sum = sha256.Sum256(sum[:])
	}
	return fmt.Sprintf("%x", sum)
}

// Drained continues COUNT: it writes up to the high watermark, and is called again
// when the peer has taken most of that.
func (s *session) Drained(c *loop.Conn) {
	if s.next == 0 {
		return
	}
	for c.Unsent() <= highWatermark {
		if s.next > s.last {
			s.next = 0
			s.end(c)
			return
		}
		if _, err := fmt.Fprintln(c, s.next); err != nil {
			s.next = 0 // the client is gone; what it sent before is still delivered
			s.end(c)
			return
		}
		s.next++
	}
}

// figures returns the sums of the loops' counts as text.
func figures(stats loop.Stats) string {
	var sum loop.LoopStats
	for _, l := range stats.Loops {
		sum.Conns += l.Conns
		sum.Accepts += l.Accepts
		sum.BytesIn += l.BytesIn
		sum.BytesOut += l.BytesOut
		sum.UnsentBytes += l.UnsentBytes
		sum.SlowCallbacks += l.SlowCallbacks
	}
	return fmt.Sprintf("%d open, %d accepted, %d bytes in, %d out, %d unsent; slow callbacks: %d",
		sum.Conns, sum.Accepts, sum.BytesIn, sum.BytesOut, sum.UnsentBytes, sum.SlowCallbacks)
}

// Shutdown closes the connection, now or after the answer in progress.
func (s *session) Shutdown(c *loop.Conn) {
	s.ending = true
	if !s.busy {
		c.Close()
	}
}

// Closed is the last call. why is nil after Close, and io.EOF after the peer's half-close.
func (s *session) Closed(c *loop.Conn, why error) {
	if why != nil && !errors.Is(why, io.EOF) {
		log.Printf("%v: %v", s.peer, why)
	}
}
