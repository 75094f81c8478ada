package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
	"github.com/pollux-io/pollux/tlsconn"
)

// options are what the flags set. Zero is a value like others: begin with defaults.
type options struct {
	loops, maxConns               int
	maxMessageBytes, maxEchoBytes int // of one message
	maxUnsentBytes                int // to a member of a room
	skipSlow                      bool
	handshakeTimeout              time.Duration // from the first byte of a connection to the last one of its request
	closeTimeout                  time.Duration // for a client's Close frame, after the server's
	pingInterval                  time.Duration
	writeTimeout                  time.Duration // for a client that takes nothing
	origins                       []string
	tls                           *tls.Config  // nil: no TLS
	network                       sock.Network // of a test
}

var defaults = options{
	maxConns:         100_000,
	maxMessageBytes:  64 << 10,
	maxEchoBytes:     1 << 20,
	maxUnsentBytes:   1 << 20,
	handshakeTimeout: 10 * time.Second,
	closeTimeout:     5 * time.Second,
	pingInterval:     30 * time.Second,
	writeTimeout:     time.Minute,
}

const (
	// highWatermarkBytes: while more bytes than this are unsent to a client, nothing is read from it.
	highWatermarkBytes = 256 << 10
	// turnBytes is how much is read from a client in one turn of its loop.
	turnBytes = 256 << 10
	// maxUnreadBytes is what a handler may leave: a part of a request, or of a control frame.
	maxUnreadBytes = 16 << 10
	// maxLimitBytes is the maximum of each limit: sums of them fit into 32 bits.
	maxLimitBytes = 256 << 20
	// drainTime is how long the clients have, when the server shuts down, to take what is unsent.
	drainTime = 15 * time.Second
)

func (o *options) validate() error {
	for _, limit := range []struct {
		flag  string
		value int
	}{{"-max-message", o.maxMessageBytes}, {"-max-echo", o.maxEchoBytes}, {"-max-unsent", o.maxUnsentBytes}} {
		if limit.value < 1 || limit.value > maxLimitBytes {
			return fmt.Errorf("%s %d: give a number of bytes from 1 to %d", limit.flag, limit.value, maxLimitBytes)
		}
	}
	if o.maxUnsentBytes < 2*o.maxMessageBytes {
		return fmt.Errorf("-max-unsent %d: a client would be slow after one message; give at least twice -max-message (%d)", o.maxUnsentBytes, o.maxMessageBytes)
	}
	if o.pingInterval < 0 {
		return fmt.Errorf("-ping %v: give a time, or 0 for no pings", o.pingInterval)
	}
	return nil
}

// server is what all connections share.
type server struct {
	options
	group *loop.Group
	hub   hub
	stats stats
}

func newServer(o options) (*server, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	g, err := loop.NewGroup(loop.Config{
		Loops:              o.loops,
		MaxConns:           o.maxConns,
		Network:            o.network,
		HighWatermarkBytes: highWatermarkBytes,
		TurnBudgetBytes:    turnBytes,
		MaxUnreadBytes:     maxUnreadBytes,
		// A client that is read from has less than the high watermark unsent, and may then be sent
		// the echo of a turn, which has a long message that began before, and messages of its room.
		MaxUnsentBytes: highWatermarkBytes + o.maxEchoBytes + 2*turnBytes + o.maxUnsentBytes,
		WriteTimeout:   o.writeTimeout,
	})
	if err != nil {
		return nil, err
	}
	s := &server{options: o, group: g}
	s.hub.init(s)
	return s, nil
}

// accept returns the handler of a new connection.
func (s *server) accept(*loop.Conn) loop.Handler {
	if s.tls != nil {
		return tlsconn.Server(s.tls, upgrade{s})
	}
	return upgrade{s}
}

// serve runs a server until ctx ends, and then closes all connections with GoingAway.
func serve(ctx context.Context, address string, o options, every time.Duration, listening func(*server, net.Addr)) error {
	s, err := newServer(o)
	if err != nil {
		return err
	}
	ln, err := s.group.Listen("tcp", address, s.accept)
	if err == nil {
		listening(s, ln.Addr())
		s.logStats(ctx, every)
	}
	drain, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	err = errors.Join(err, s.group.Shutdown(drain))
	log.Print(s.figures())
	return err
}
