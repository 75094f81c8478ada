package conformance

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"runtime"
	"time"

	"github.com/pollux-io/pollux/sock"
)

// peer is the other end of a stream: a plain non-blocking socket.
type peer struct {
	*sock.TCPStream
	h           *harness
	wrote, read int // bytes of text
	ended       error
}

func (h *harness) connect(addr netip.AddrPort, options ...sock.Option) *peer {
	h.Helper()
	s, err := sock.ConnectTCP(addr, h.on(options)...)
	h.must(err)
	h.others = append(h.others, s)
	return &peer{TCPStream: s, h: h}
}

// pair returns a connected stream, which is not attached, and its peer.
func (h *harness) pair(options ...sock.Option) (*conn, *peer) {
	h.Helper()
	if h.pairListener == nil {
		h.pairListener = h.listenTCP()
		h.others = append(h.others, h.pairListener)
	}
	p := h.connect(h.pairListener.Addr(), options...)
	c := h.conn()
	h.waitFor("accepting the other end", func() bool {
		err := h.pairListener.AcceptInto(&c.Stream.Stream)
		if err != nil && err != sock.ErrWouldBlock {
			h.Fatal(err)
		}
		return err == nil
	})
	p.open()
	c.p = p
	return c, p
}

// smallBufferBytes is the size of small buffers. With the smallest possible ones, TCP waits for
// its timers.
const smallBufferBytes = 8 << 10

// smallBufferPair is pair with small socket buffers.
func (h *harness) smallBufferPair() (*conn, *peer) {
	h.Helper()
	c, p := h.pair(sock.ReadBuffer(smallBufferBytes), sock.WriteBuffer(smallBufferBytes))
	h.must(c.SetWriteBuffer(smallBufferBytes))
	h.must(c.SetReadBuffer(smallBufferBytes))
	return c, p
}

// open waits until a peer is connected.
func (p *peer) open() {
	p.h.Helper()
	p.h.waitFor("connecting", func() bool {
		err := p.ConnectError()
		if err != nil && err != sock.ErrWouldBlock {
			p.h.Fatal(err)
		}
		return err == nil
	})
}

// waitFor waits for what the system does without the driver.
func (h *harness) waitFor(what string, ok func() bool) {
	h.Helper()
	for end := time.Now().Add(deadline); !ok(); {
		if time.Now().After(end) {
			h.Fatalf("did not happen within %v: %s", deadline, what)
		}
		runtime.Gosched()
	}
}

// write writes n bytes, all of which must fit in the socket's buffers.
func (p *peer) write(n int) {
	p.h.Helper()
	if k := p.push(n); k != n {
		p.h.Fatalf("a peer's Write(%d bytes) took %d", n, k)
	}
}

// push writes up to n bytes, until it would block. It returns how many it wrote.
func (p *peer) push(n int) (total int) {
	p.h.Helper()
	for total < n {
		k, err := p.Write(text[p.wrote:min(p.wrote+n-total, p.wrote+64<<10)])
		total += k
		p.wrote += k
		if err == sock.ErrWouldBlock {
			return total
		}
		p.h.must(err)
	}
	return total
}

// pull reads up to limit bytes, until it would block, and checks them. It returns how many it read.
func (p *peer) pull(limit int) (total int) {
	p.h.Helper()
	b := make([]byte, min(limit, 64<<10))
	for total < limit && p.ended == nil {
		n, err := p.Read(b[:min(len(b), limit-total)])
		if !bytes.Equal(b[:n], text[p.read:p.read+n]) {
			p.h.Fatalf("%d bytes read after %d differ from those sent", n, p.read)
		}
		p.read += n
		total += n
		if err == sock.ErrWouldBlock {
			return total
		}
		if err != nil {
			p.ended = err
		}
	}
	return total
}

// all is a limit for pull that has no effect.
const all = 1 << 30

func (p *peer) reset() {
	p.h.Helper()
	p.h.must(p.SetLinger(0))
	p.h.must(p.Close())
}

// hasRead returns a condition: the peer has read n bytes, and EOF if and only if eof.
func (p *peer) hasRead(n int, eof bool) func() bool {
	return func() bool {
		p.pull(all)
		if p.ended != nil && (p.read < n || !errors.Is(p.ended, io.EOF)) {
			p.h.Fatalf("the peer received %d bytes of %d, then %v", p.read, n, p.ended)
		}
		return p.read == n && (p.ended != nil) == eof
	}
}

// defaultPair is pair without options.
func (h *harness) defaultPair() (*conn, *peer) { h.Helper(); return h.pair() }
