package conformance

import (
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
)

var allocTests = []test{
	{"an echo", usual, echoAllocs},
	{"a blocked send", usual, blockedAllocs},
	{"Pause and Resume, Wake and an idle turn", usual, idleAllocs},
}

// lean implements a stream's upcalls without allocating.
type lean struct {
	c    *conn
	echo bool
	got  int
	buf  [64 << 10]byte
	bufs [1][]byte // unsent bytes
	err  error
}

func (h *harness) lean(pair func() (*conn, *peer)) (*lean, *peer) {
	h.Helper()
	c, p := pair()
	x := &lean{c: c}
	c.Up = x
	c.attach()
	c.resume()
	return x, p
}

// send sends the bytes in bufs; Sent continues with the rest.
func (x *lean) send() {
	n, err := x.c.h.drv.Send(&x.c.Stream, x.bufs[:])
	x.advance(n, err)
}

func (x *lean) advance(n int, err error) {
	x.bufs[0] = x.bufs[0][n:]
	x.err = err
}

func (x *lean) Received(b []byte) bool {
	x.got += len(b)
	if x.echo {
		x.bufs[0] = x.buf[:copy(x.buf[:], b)]
		x.send()
	}
	return true
}

func (x *lean) Sent(n int, err error) {
	if x.advance(n, err); err == nil && len(x.bufs[0]) > 0 {
		x.send()
	}
}

func (x *lean) Connected(error)    {}
func (x *lean) ReceiveEnded(error) {}
func (x *lean) Failed(error)       {}
func (x *lean) Released()          { x.c.releases++ }

// leanPeer is a peer whose reads and writes do not allocate: on a simulated network, those of package
// sock do.
type leanPeer struct {
	p       *peer
	virtual sys.VirtualSocket // nil: a socket of the operating system
	bufs    [1][]byte
}

func (p *peer) lean() *leanPeer {
	return &leanPeer{p: p, virtual: stream.Of(p).Handle.Virtual()}
}

func (x *leanPeer) write(b []byte) {
	if x.virtual == nil {
		x.p.Write(b)
		return
	}
	x.bufs[0] = b
	x.virtual.Send(x.bufs[:], 0)
}

// read returns 0 if there is nothing to read.
func (x *leanPeer) read(b []byte) (n int) {
	if x.virtual == nil {
		n, _ = x.p.Read(b)
		return n
	}
	x.bufs[0] = b
	n, _ = x.virtual.Recv(x.bufs[:], 0)
	return n
}

// allocations runs f runs times and checks that it makes no allocation, on average and rounded
// down: sometimes the garbage collector empties pools, which are then filled again.
func (h *harness) allocations(runs int, f func()) {
	h.Helper()
	for range min(runs, 50) {
		f()
	}
	n := testing.AllocsPerRun(runs, f)
	if testkit.Race {
		h.Log("allocations are not counted: the race detector itself allocates")
	} else if n != 0 {
		h.Errorf("%v allocations", n)
	}
}

func echoAllocs(h *harness) {
	x, p := h.lean(h.defaultPair)
	x.echo = true
	b := make([]byte, 1000)
	w := p.lean()
	h.allocations(300, func() {
		w.write(text[:64])
		for end := time.Now().Add(deadline); ; {
			h.drv.Turn(time.Millisecond)
			if n := w.read(b); n > 0 || time.Now().After(end) {
				return
			}
		}
	})
	if x.got == 0 || x.err != nil {
		h.Errorf("%d bytes were received to be echoed: %v", x.got, x.err)
	}
}

func blockedAllocs(h *harness) {
	x, p := h.lean(h.smallBufferPair)
	b := make([]byte, 64<<10)
	w := p.lean()
	size := 0
	// Each time, send more than the buffers take.
	for len(x.bufs[0]) == 0 && size < len(text)/2 {
		size += 256 << 10
		x.bufs[0] = text[:size]
		x.send()
	}
	h.allocations(30, func() {
		for end := time.Now().Add(deadline); len(x.bufs[0]) > 0; {
			for w.read(b) > 0 {
			}
			h.drv.Turn(time.Millisecond)
			if x.err != nil || time.Now().After(end) {
				return
			}
		}
		x.bufs[0] = text[:size]
		x.send()
	})
	if x.err != nil {
		h.Error(x.err)
	}
}

func idleAllocs(h *harness) {
	x, _ := h.lean(h.defaultPair)
	h.allocations(300, func() {
		h.drv.Pause(&x.c.Stream)
		h.drv.Turn(0)
		h.drv.Resume(&x.c.Stream)
		h.drv.Wake()
		h.drv.Turn(deadline)
		h.drv.Turn(time.Microsecond)
	})
}
