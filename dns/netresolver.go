package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// NetResolver returns a resolver of package net that asks r instead of DNS servers, for libraries that take a
// *net.Resolver, such as by net.Dialer.Resolver. Its queries share r's cache, servers, limits and lookups in progress.
//
// Package net still reads the hosts file, nsswitch.conf, and the search list of resolv.conf by itself; which servers that
// file has does not matter, and those of Config.Servers are asked. It also limits each query to the timeout of resolv.conf, and
// tries it again. A lookup that takes longer goes on meanwhile, within the limits of r, and answers the next try. When
// the context of a lookup is canceled, its queries are. A *net.DNSError names a server of resolv.conf, whichever was asked.
//
// The result needs r: after r.Close, it returns errors. It must not be used in a callback of a loop, as its methods wait.
func (r *Resolver) NetResolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: r.dialServer}
}

// dialServer is the Dial function of NetResolver.
func (r *Resolver) dialServer(ctx context.Context, network, server string) (net.Conn, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if r.isClosed() {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: dialAddr{network, server}, Err: ErrClosed}
	}
	return &serverConn{
		r: r, ctx: ctx, addr: dialAddr{network, server}, responses: make(chan []byte, 1),
		closed: make(chan struct{}), deadlineChanged: make(chan struct{}),
	}, nil
}

func (r *Resolver) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// A serverConn is a connection to a DNS server that is a Resolver. It is a stream of messages with their lengths (RFC 1035,
// section 4.2.2) whatever its network is, as package net decides by the type of a connection, and nothing is truncated.
// It has one query at a time, as those of package net do.
type serverConn struct {
	r         *Resolver
	ctx       context.Context // of the query: package net cancels it after Close
	addr      dialAddr
	responses chan []byte
	closed    chan struct{}

	mu              sync.Mutex // guards up to the end
	query           []byte     // incomplete, with its length
	unread          []byte     // of a response, with its length
	asking          bool       // a query has no response yet, or that has not been read
	lookup          *Lookup    // of the latest query
	isClosed        bool
	deadline        time.Time
	deadlineChanged chan struct{}
}

var _ net.Conn = (*serverConn)(nil)

var errOneQuery = errors.New("the connection has one query at a time: read the response first")

// Write takes a query, or a part of one.
func (c *serverConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.isClosed:
		return 0, c.opError("write", net.ErrClosed)
	case c.deadlinePassedLocked():
		return 0, c.opError("write", os.ErrDeadlineExceeded)
	case c.asking:
		return 0, c.opError("write", errOneQuery)
	}
	c.query = append(c.query, b...)
	if len(c.query) < lengthBytes {
		return len(b), nil
	}
	switch length := lengthBytes + int(binary.BigEndian.Uint16(c.query)); {
	case len(c.query) < length:
		return len(b), nil
	case len(c.query) > length:
		return 0, c.opError("write", errOneQuery)
	}
	query := c.query[lengthBytes:]
	c.query = nil
	if err := c.askLocked(query); err != nil {
		return 0, c.opError("write", err)
	}
	return len(b), nil
}

func (c *serverConn) askLocked(message []byte) error {
	q, err := parseQuery(message)
	if err != nil {
		return err
	}
	l, err := c.r.nextLoop()
	if err != nil {
		return err
	}
	c.asking = true
	c.lookup = c.r.LookupTypeFunc(l, q.name.String(), q.typ, func(a Answer, err error) { c.responses <- q.response(a, err) })
	return nil
}

// Read returns octets of the response. It waits for it.
func (c *serverConn) Read(b []byte) (int, error) {
	for {
		c.mu.Lock()
		if n := copy(b, c.unread); n > 0 || len(b) == 0 {
			if c.unread = c.unread[n:]; n > 0 && len(c.unread) == 0 {
				c.asking = false
			}
			c.mu.Unlock()
			return n, nil
		}
		deadline, changed := c.deadline, c.deadlineChanged
		c.mu.Unlock()
		if err := c.wait(deadline, changed); err != nil {
			return 0, c.opError("read", err)
		}
	}
}

// wait waits for a response, or for a change of the deadline.
func (c *serverConn) wait(deadline time.Time, changed chan struct{}) error {
	var passed <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		passed = timer.C
	}
	select {
	case response := <-c.responses:
		c.mu.Lock()
		c.unread = response
		c.mu.Unlock()
		return nil
	case <-changed:
		return nil
	case <-passed:
		return os.ErrDeadlineExceeded
	case <-c.ctx.Done():
		return c.ctx.Err()
	case <-c.closed:
		return net.ErrClosed
	}
}

// Close cancels the lookup, unless it is only too late: then package net tries again, and needs its result.
func (c *serverConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isClosed {
		return c.opError("close", net.ErrClosed)
	}
	c.isClosed = true
	close(c.closed)
	if late := c.deadlinePassedLocked() || errors.Is(c.ctx.Err(), context.DeadlineExceeded); c.lookup != nil && !late {
		c.lookup.Cancel()
	}
	return nil
}

func (c *serverConn) deadlinePassedLocked() bool {
	return !c.deadline.IsZero() && !time.Now().Before(c.deadline)
}

// SetDeadline sets the deadline of Read and Write: there is one for both, as a Write does not wait.
func (c *serverConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isClosed {
		return c.opError("set", net.ErrClosed)
	}
	c.deadline = t
	close(c.deadlineChanged)
	c.deadlineChanged = make(chan struct{})
	return nil
}

func (c *serverConn) SetReadDeadline(t time.Time) error  { return c.SetDeadline(t) }
func (c *serverConn) SetWriteDeadline(t time.Time) error { return c.SetDeadline(t) }
func (c *serverConn) LocalAddr() net.Addr                { return dialAddr{c.addr.network, "pollux"} }
func (c *serverConn) RemoteAddr() net.Addr               { return c.addr }

func (c *serverConn) opError(op string, err error) error {
	if c.ctx.Err() != nil && errors.Is(err, c.ctx.Err()) {
		return err // package net recognizes the errors of contexts as they are
	}
	return &net.OpError{Op: op, Net: c.addr.network, Addr: c.addr, Err: fmt.Errorf("NetResolver: %w", err)}
}
