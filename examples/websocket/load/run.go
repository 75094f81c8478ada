package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/examples/websocket/internal/websocket"
	"github.com/pollux-io/pollux/loop"
)

// options are what the flags set.
type options struct {
	addr                       string
	clients, broadcasts, bytes int
	inFlight, loops            int
}

const (
	// headBytes is the length of what a message begins with: its number, and when it was sent, in
	// nanoseconds since the run has begun.
	headBytes = 8 + 8
	// maxBytes is the default of the server's flag -max-message.
	maxBytes = 64 << 10
	// dialsAtOnce is below the backlog of a listener, so that no SYN is lost.
	dialsAtOnce = 128
	// spareDescriptors is how many descriptors a run needs besides those of its clients.
	spareDescriptors = 50

	room = "/hub/load"
)

func (o *options) validate() error {
	switch {
	case o.clients < 1, o.broadcasts < 1, o.inFlight < 1, o.loops < 1:
		return errors.New("-clients, -broadcasts, -in-flight and -loops must be 1 or more")
	case o.bytes < headBytes || o.bytes > maxBytes:
		return fmt.Errorf("-bytes %d: give a number from %d to %d", o.bytes, headBytes, maxBytes)
	}
	if limit := maxDescriptors(); limit > 0 && o.clients+spareDescriptors > limit {
		return fmt.Errorf("-clients %d: a process may have %d descriptors here; raise the limit (ulimit -n), for the server too, or give at most %d",
			o.clients, limit, limit-spareDescriptors)
	}
	return nil
}

// run is what all clients share.
type run struct {
	options
	began time.Time

	clients         []*client     // by number; each is set before it is open
	latencies       []histogram   // one for each loop, which alone uses it
	started         atomic.Int64  // clients, of those that have begun to dial
	open, gone      atomic.Int64  // clients
	received        atomic.Int64  // messages, of all clients
	goodbyes        atomic.Int64  // Close frames with the expected code
	fails           chan error    // the first failure
	allOpen, allGot chan struct{} // closed when all clients are open, and have got everything
	allGone         chan struct{} // closed when all clients have ended

	publishing sync.Mutex
	sent       int // messages

	ending atomic.Pointer[websocket.CloseCode] // the code that clients must get, once that may come
}

func newRun(o options) *run {
	return &run{
		options: o, began: time.Now(),
		clients: make([]*client, o.clients), latencies: make([]histogram, o.loops), fails: make(chan error, 1),
		allOpen: make(chan struct{}), allGot: make(chan struct{}), allGone: make(chan struct{}),
	}
}

// fail ends the run, because of the first error.
func (r *run) fail(err error) {
	select {
	case r.fails <- err:
	default:
	}
}

// await waits for a phase to end.
func (r *run) await(ctx context.Context, what string, phase <-chan struct{}) error {
	select {
	case <-phase:
		return nil
	case err := <-r.fails:
		return r.at(what, err)
	case <-ctx.Done():
		return r.at(what, context.Cause(ctx))
	}
}

// at returns an error that reports how far the run has come.
func (r *run) at(what string, err error) error {
	return fmt.Errorf("%s: %d of %d clients were open, %d of %d messages have arrived, %d clients are gone: %w", what,
		r.open.Load(), len(r.clients), r.received.Load(), len(r.clients)*r.broadcasts, r.gone.Load(), err)
}

// dialNext dials for the next client, if there is one. The end of each dial begins another one.
func (r *run) dialNext(ctx context.Context, g *loop.Group) {
	i := int(r.started.Add(1)) - 1
	if i >= len(r.clients) {
		return
	}
	c := newClient(r)
	r.clients[i] = c
	l := g.Loops()[i%r.loops]
	err := l.Dial(ctx, "tcp", r.addr, func(*loop.Conn) loop.Handler { return c }, func(_ *loop.Conn, err error) {
		if err != nil {
			r.fail(err)
			return
		}
		r.dialNext(ctx, g)
	})
	if err != nil {
		r.fail(err)
	}
}

// publish sends the next message, if there is one, by the first client. It may be called from any
// goroutine: the lock keeps messages in the order of their numbers.
func (r *run) publish() {
	r.publishing.Lock()
	defer r.publishing.Unlock()
	n := r.sent
	if n == r.broadcasts {
		return
	}
	r.sent++
	b := binary.BigEndian.AppendUint64(make([]byte, 0, r.bytes), uint64(n))
	b = binary.BigEndian.AppendUint64(b, uint64(time.Since(r.began)))
	r.clients[0].send(b[:r.bytes])
}

// got is called for each message of each client.
func (r *run) got() {
	switch n := r.received.Add(1); {
	case n == int64(len(r.clients)*r.broadcasts):
		close(r.allGot)
	case n%int64(len(r.clients)) == 0: // so many have arrived as one message makes
		r.publish()
	}
}

// measure runs the phases, and returns the report. If program is not empty, it is the server.
func measure(ctx context.Context, program string, o options) (report string, err error) {
	if err := o.validate(); err != nil {
		return "", err
	}
	var s *server
	if program != "" {
		if s, err = startServer(ctx, program); err != nil {
			return "", err
		}
		defer s.kill()
		o.addr = s.addr
	}
	g, err := loop.NewGroup(loop.Config{Loops: o.loops})
	if err != nil {
		return "", err
	}
	defer func() {
		abandoned, cancel := context.WithCancel(ctx)
		cancel() // whatever is left has failed
		g.Shutdown(abandoned)
	}()
	r := newRun(o)
	return r.phases(ctx, g, s)
}

func (r *run) phases(ctx context.Context, g *loop.Group, s *server) (string, error) {
	var out strings.Builder
	before := s.usage()
	for range dialsAtOnce {
		r.dialNext(ctx, g)
	}
	if err := r.await(ctx, "connect", r.allOpen); err != nil {
		return "", err
	}
	connected := s.usage()
	fmt.Fprintf(&out, "%d clients connected in %v%s\n", len(r.clients), time.Since(r.began).Round(time.Millisecond), before.memoryOf(connected, len(r.clients)))

	began := time.Now()
	for range r.inFlight {
		r.publish()
	}
	if err := r.await(ctx, "broadcast", r.allGot); err != nil {
		return "", err
	}
	took, after := time.Since(began), s.usage()
	total := len(r.clients) * r.broadcasts
	fmt.Fprintf(&out, "%d messages of %d bytes to %d clients: %d deliveries in %v, %.0f a second%s%s\n", r.broadcasts, r.bytes, len(r.clients), total,
		took.Round(time.Millisecond), float64(total)/took.Seconds(), connected.timeOf(after, total), before.memoryOf(after, len(r.clients)))

	if err := r.end(ctx, s); err != nil {
		return "", err
	}
	if got := r.received.Load(); got != int64(total) {
		return "", fmt.Errorf("clients have got %d messages, want %d", got, total)
	}
	if n := r.goodbyes.Load(); n != int64(len(r.clients)) {
		return "", fmt.Errorf("%d clients have got the expected Close frame, want all %d", n, len(r.clients))
	}
	var all histogram
	for i := range r.latencies {
		all.add(&r.latencies[i])
	}
	fmt.Fprintf(&out, "from the send of a message to its arrival: %v\n", &all)
	fmt.Fprintf(&out, "each client got each message once and in order, and then Close %d\n", *r.ending.Load())
	return out.String(), nil
}

// end stops the server, or closes the connections to one that goes on.
func (r *run) end(ctx context.Context, s *server) error {
	code := websocket.GoingAway
	if s == nil {
		code = websocket.NormalClosure
	}
	r.ending.Store(&code)
	if s == nil {
		for _, c := range r.clients {
			c.close(code)
		}
	} else if err := s.interrupt(); err != nil {
		return err
	}
	if err := r.await(ctx, "close", r.allGone); err != nil {
		return err
	}
	return s.wait()
}
