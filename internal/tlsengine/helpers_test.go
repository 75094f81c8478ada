package tlsengine

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
)

// each runs a test for both modes, roles and versions.
func each(t *testing.T, test func(t *testing.T, mode Mode, client bool, version uint16)) {
	for _, mode := range []Mode{InPlace, Copying} {
		for _, client := range []bool{false, true} {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				role := "server"
				if client {
					role = "client"
				}
				t.Run(fmt.Sprintf("%s/%s/%s", mode, role, tls.VersionName(version)), func(t *testing.T) { test(t, mode, client, version) })
			}
		}
	}
}

// A rig is an event loop with one Conn. The test's goroutine runs it, in until.
type rig struct {
	t        testing.TB
	c        *Conn
	peer     *peerConn
	events   chan struct{}
	cut      func(n int) int // how many of n received bytes are passed on at once
	raw      []byte          // received after the handshake, and not a whole record yet
	done     bool
	end      bool   // all that the peer has sent is in raw, or was passed on
	received []byte // plaintext
	silent   int    // records without plaintext
	err      error  // of the handshake, Receive or ReceiveEnd
}

// newRig returns a rig whose peer's bytes end after limit, unless it is negative.
func newRig(t testing.TB, o Options, limit int, cut func(int) int) *rig {
	t.Helper()
	r := &rig{t: t, events: make(chan struct{}, 1), cut: cut}
	if r.cut == nil {
		r.cut = func(n int) int { return n }
	}
	event := func() {
		select {
		case r.events <- struct{}{}:
		default:
		}
	}
	o.Notify = event
	if o.Timeout == 0 {
		o.Timeout = time.Hour
	}
	var err error
	if r.c, err = New(o); err != nil {
		t.Fatal(err)
	}
	r.peer = &peerConn{in: newStream(-1, nil), out: newStream(limit, event)}
	if err := r.c.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

// until runs the loop until the condition holds or there is an error.
func (r *rig) until(condition func() bool) {
	for {
		r.turn()
		if r.err != nil || condition() {
			return
		}
		<-r.events
	}
}

func (r *rig) turn() {
	if !r.done {
		r.step()
	}
	b, ended := r.peer.out.take()
	for len(b) > 0 && r.err == nil {
		n := r.cut(len(b))
		if r.done {
			r.raw = append(r.raw, b[:n]...)
			r.records()
		} else {
			r.c.Feed(b[:n])
			r.step()
		}
		b = b[n:]
	}
	if ended && !r.end {
		r.end = true
		if !r.done {
			r.c.FeedEnd()
		}
	}
	if r.end && r.done && r.err == nil {
		r.err = r.c.ReceiveEnd()
	}
}

func (r *rig) step() {
	p := r.c.Step(nil)
	r.peer.in.Write(p.Output)
	if p.Done {
		r.done, r.err = true, p.Err
		r.raw = p.Unread
		r.records()
	}
}

func (r *rig) records() {
	for r.err == nil {
		n, more := r.c.Next(r.raw)
		if (n == 0) == (more == 0) {
			r.t.Fatalf("Next returns %d and %d", n, more)
		}
		if n == 0 {
			return
		}
		plain, err := r.c.Receive(r.raw[:n:n])
		r.received = append(r.received, plain...)
		if len(plain) == 0 {
			r.silent++
		}
		r.err = err
		r.raw = r.raw[n:]
		if out := r.c.TakeOutput(nil); len(out) > 0 {
			r.peer.in.Write(out)
		}
		r.checkEmpty()
	}
}

// checkEmpty fails if crypto/tls holds memory for records.
func (r *rig) checkEmpty() {
	if r.c.mode != InPlace || r.c.handshake != nil {
		return
	}
	f := fieldsOf(r.c.tls)
	if f.rawInput.Cap() > 0 || f.input.Size() > 0 || f.hand.Len() == 0 && f.hand.Cap() > 0 {
		r.t.Fatalf("buffers of %d, %d and %d bytes are left", f.rawInput.Cap(), f.input.Size(), f.hand.Cap())
	}
}

func (r *rig) send(b []byte) {
	r.t.Helper()
	out, err := r.c.Send(nil, b)
	if err != nil {
		r.t.Fatal(err)
	}
	if len(out) > MaxSendBytes(len(b)) {
		r.t.Fatalf("%d bytes of plaintext are %d, MaxSendBytes is %d", len(b), len(out), MaxSendBytes(len(b)))
	}
	r.peer.in.Write(out)
}

// other returns crypto/tls with goroutines, connected to the rig.
func (r *rig) other(config *tls.Config, client bool) *tls.Conn {
	if client {
		return tls.Client(r.peer, config)
	}
	return tls.Server(r.peer, config)
}

// randomCut returns a segmentation: mostly small pieces, sometimes all.
func randomCut(rnd *rand.Rand) func(int) int {
	return func(n int) int {
		switch rnd.IntN(4) {
		case 0:
			return n
		case 1:
			return 1
		}
		return 1 + rnd.IntN(min(n, 2000))
	}
}

func randomBytes(rnd *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// established returns a rig after its handshake, and its peer.
func established(t testing.TB, mode Mode, client bool, version uint16) (*rig, *tls.Conn) {
	t.Helper()
	server, clientConfig := tlstest.Configs(version)
	o, other := Options{Config: server, mode: mode}, clientConfig
	if client {
		o, other = Options{Config: clientConfig, Client: true, mode: mode}, server
	}
	r := newRig(t, o, -1, nil)
	peer := r.other(other, !client)
	errs := make(chan error, 1)
	go func() {
		errs <- peer.Handshake()
		r.peer.out.event()
	}()
	r.until(func() bool { return r.done })
	if r.err != nil {
		t.Fatal(r.err)
	}
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
	return r, peer
}
