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

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// peer is the other end of a stream: a plain socket that never blocks.
type peer struct {
	*sock.TCPStream
	h           *harness
	wrote, read int // bytes, of text
	ended       error
}

func (h *harness) listenTCP(options ...sock.Option) *sock.TCPListener {
	h.Helper()
	l, err := sock.ListenTCP(loopback, options...)
	h.must(err)
	return l
}

func (h *harness) connect(addr netip.AddrPort, options ...sock.Option) *peer {
	h.Helper()
	s, err := sock.ConnectTCP(addr, options...)
	h.must(err)
	h.others = append(h.others, s)
	return &peer{TCPStream: s, h: h}
}

// pair makes a connected stream, not attached, and its peer.
func (h *harness) pair(options ...sock.Option) (*conn, *peer) {
	h.Helper()
	if h.door == nil {
		h.door = h.listenTCP()
		h.others = append(h.others, h.door)
	}
	p := h.connect(h.door.Addr(), options...)
	c := h.conn()
	h.spin("accepting the other end", func() bool {
		err := h.door.AcceptInto(&c.Stream.Stream)
		if err != nil && err != sock.ErrWouldBlock {
			h.Fatal(err)
		}
		return err == nil
	})
	p.open()
	c.p = p
	return c, p
}

// tinyBytes is the size of small buffers. With the smallest that systems have, TCP
// waits for its timers.
const tinyBytes = 8 << 10

// tiny is pair with small buffers.
func (h *harness) tiny() (*conn, *peer) {
	h.Helper()
	c, p := h.pair(sock.RecvBuffer(tinyBytes), sock.SendBuffer(tinyBytes))
	h.must(c.SetSendBuffer(tinyBytes))
	h.must(c.SetRecvBuffer(tinyBytes))
	return c, p
}

// open waits until a peer is connected.
func (p *peer) open() {
	p.h.Helper()
	p.h.spin("connecting", func() bool {
		err := p.ConnectError()
		if err != nil && err != sock.ErrWouldBlock {
			p.h.Fatal(err)
		}
		return err == nil
	})
}

// spin waits for what the system does by itself, without the driver.
func (h *harness) spin(what string, ok func() bool) {
	h.Helper()
	for end := time.Now().Add(deadline); !ok(); {
		if time.Now().After(end) {
			h.Fatalf("not within %v: %s", deadline, what)
		}
		runtime.Gosched()
	}
}

// write writes n bytes, all of which must find room.
func (p *peer) write(n int) {
	p.h.Helper()
	if k := p.push(n); k != n {
		p.h.Fatalf("a peer's Write(%d bytes) = %d", n, k)
	}
}

// push writes up to n bytes, as many as there is room for.
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

// pull reads up to limit bytes, and checks them. It returns how many there were.
func (p *peer) pull(limit int) (total int) {
	p.h.Helper()
	b := make([]byte, min(limit, 64<<10))
	for total < limit && p.ended == nil {
		n, err := p.Read(b[:min(len(b), limit-total)])
		if !bytes.Equal(b[:n], text[p.read:p.read+n]) {
			p.h.Fatalf("%d bytes after %d are not those that were sent", n, p.read)
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

// all is no limit for pull.
const all = 1 << 30

func (p *peer) reset() {
	p.h.Helper()
	p.h.must(p.SetLinger(0))
	p.h.must(p.Close())
}

// wants returns a condition: the peer has read n bytes, and then its end if eof.
func (p *peer) wants(n int, eof bool) func() bool {
	return func() bool {
		p.pull(all)
		if p.ended != nil && (p.read < n || !errors.Is(p.ended, io.EOF)) {
			p.h.Fatalf("the peer got %d bytes of %d, then %v", p.read, n, p.ended)
		}
		return p.read == n && (p.ended != nil) == eof
	}
}

// roomy is pair with the buffers that sockets have anyway.
func (h *harness) roomy() (*conn, *peer) { h.Helper(); return h.pair() }
