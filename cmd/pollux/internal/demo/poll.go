package demo

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/cmd/pollux/internal/report"
	"github.com/pollux-io/pollux/sock"
)

const (
	eventsPerWait = 256
	scratchBytes  = 64 << 10
	// maxConnecting is the maximum number of pending connects: more might not
	// fit into the server's backlog.
	maxConnecting = 64
	// maxAnswer is more than the slow server ever sends.
	maxAnswer = 64 << 10
)

var errTimeout = errors.New("no answer in time")

// A client is a goroutine with a Poll, and the connections on which it waits.
type client struct {
	work
	figures Figures
	poll    *pollux.Poll
	server  netip.AddrPort
	out     *bufio.Writer
	outErr  error
	delays  []time.Duration
	conns   []*conn // by request; nil before it is opened, and after it has ended
	scratch []byte  // buffer of reads
	meter   *meter

	next, open, connecting, ended int
	released                      bool // requests may be sent: the first connections are all open
}

// A conn is one of the connections, from connecting to the end of the answer.
type conn struct {
	sock.Stream
	index     int
	asked     time.Time // when the request was sent
	connected bool
	got       []byte // the answer so far
}

// runPollClient sends the requests of w with one goroutine and one Poll.
func runPollClient(w work, out io.Writer) (*Figures, error) {
	server, err := netip.ParseAddrPort(w.Server)
	if err != nil {
		return nil, err
	}
	q, err := pollux.New()
	if err != nil {
		return nil, err
	}
	defer q.Close()
	c := &client{
		work: w, poll: q, server: server, out: bufio.NewWriter(out), delays: spread(w.Requests, w.Delay),
		conns: make([]*conn, w.Requests), scratch: make([]byte, scratchBytes),
	}
	c.figures.Requests, c.figures.Backend = w.Requests, q.Backend()
	c.meter = newMeter()
	err = c.run()
	c.figures.Took = c.meter.took()
	if err == nil {
		err = c.outErr
	}
	return &c.figures, err
}

// run waits until all requests have ended.
func (c *client) run() error {
	events := make([]pollux.Event, eventsPerWait)
	for c.ended < c.Requests && c.outErr == nil {
		c.fill()
		c.release()
		if c.ended == c.Requests {
			return nil
		}
		c.flush()
		n, err := c.poll.Wait(events, c.Delay+grace)
		if err != nil {
			return err
		}
		if n == 0 {
			c.failAll()
		}
		for _, ev := range events[:n] {
			if conn := c.conns[ev.Token()]; conn != nil { // nil: it has ended meanwhile
				c.ready(conn)
			}
		}
	}
	c.flush()
	return nil
}

// fill opens connections, up to the maximum.
func (c *client) fill() {
	for c.next < c.Requests && c.open < c.Parallel && c.connecting < maxConnecting {
		conn := &conn{index: c.next}
		err := sock.ConnectTCPInto(&conn.Stream, c.server)
		if err == nil {
			err = c.poll.Register(&conn.Stream, pollux.Token(conn.index), pollux.Readable|pollux.Writable, pollux.Edge)
			if err != nil {
				conn.Close()
			}
		}
		if isExhausted(err) && c.open > 0 {
			c.Parallel, c.figures.Lowered = c.open, true
			return
		}
		c.next++
		if err != nil {
			c.conns[conn.index] = nil
			c.ended++
			c.failed(conn, err)
			continue
		}
		c.conns[conn.index] = conn
		c.open++
		c.connecting++
	}
}

// release measures, and then sends all requests, once the maximum number of connections is
// open. Later requests are sent as soon as their connections are open.
func (c *client) release() {
	if c.released || c.connecting > 0 || c.open < c.Parallel && c.next < c.Requests {
		return
	}
	c.released = true
	c.meter.measure(&c.figures, c.open)
	for _, conn := range c.conns[:c.next] {
		if conn != nil {
			c.ask(conn)
		}
	}
}

// ready continues a connection that has an event. It is edge-triggered: ready continues until
// a call would block.
func (c *client) ready(conn *conn) {
	if !conn.connected {
		err := conn.ConnectError()
		if errors.Is(err, sock.ErrWouldBlock) {
			return
		}
		c.connecting--
		conn.connected = true
		if err != nil {
			c.end(conn, err)
			return
		}
		if c.released && !c.ask(conn) {
			return
		}
	}
	c.read(conn)
}

// ask sends the request of a connection, which fits into any socket's send buffer. It reports
// whether the connection is still open.
func (c *client) ask(conn *conn) bool {
	conn.asked = time.Now()
	b := c.scratch[:0]
	b = fmt.Appendf(b, "GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path(c.delays[conn.index]), c.Server)
	if n, err := conn.Write(b); n < len(b) {
		c.end(conn, fmt.Errorf("send the request: %w", err))
		return false
	}
	return true
}

func (c *client) read(conn *conn) {
	for {
		n, err := conn.Read(c.scratch)
		switch {
		case n > 0:
			conn.got = append(conn.got, c.scratch[:n]...)
			if len(conn.got) > maxAnswer {
				c.end(conn, errors.New("the answer is too long"))
				return
			}
		case errors.Is(err, sock.ErrWouldBlock):
			return
		case errors.Is(err, io.EOF):
			c.end(conn, check(conn.got))
			return
		default:
			c.end(conn, err)
			return
		}
	}
}

// end closes a connection, and counts its request.
func (c *client) end(conn *conn, err error) {
	conn.Close()
	c.conns[conn.index] = nil
	c.open--
	c.ended++
	if err != nil {
		c.failed(conn, err)
		return
	}
	if c.Each {
		c.printf("%7d  %10v  %10v  %7d\n", conn.index, c.delays[conn.index], report.Round(time.Since(conn.asked)), len(conn.got))
	}
}

// failed counts a request that has failed.
func (c *client) failed(conn *conn, err error) {
	c.figures.fail(err)
	if c.Each {
		c.printf("%7d  %10v  %10v  failed: %v\n", conn.index, c.delays[conn.index], "", err)
	}
}

// failAll ends all open connections: no event has come for longer than any answer takes.
func (c *client) failAll() {
	for _, conn := range c.conns[:c.next] {
		if conn != nil {
			if !conn.connected {
				c.connecting--
			}
			c.end(conn, errTimeout)
		}
	}
}

func (c *client) printf(format string, a ...any) { fmt.Fprintf(c.out, format, a...) }

// flush prints the buffered output before the client waits again.
func (c *client) flush() {
	if err := c.out.Flush(); err != nil && c.outErr == nil {
		c.outErr = err
	}
}

// check returns an error unless b is a complete answer with status 200.
func check(b []byte) error {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}
