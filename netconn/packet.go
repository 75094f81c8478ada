package netconn

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// maxQueuedBytes limits the datagrams that no ReadFrom has returned, as SO_RCVBUF does in the kernel: each
// counts with its length and datagramOverheadBytes. More are dropped.
const (
	maxQueuedBytes        = 256 << 10
	datagramOverheadBytes = 256
)

// A PacketConn is a UDP address of a group: what ListenPacket returns as a net.PacketConn. Its methods may be
// called from any goroutine, several at a time. In a callback of the group those that would wait return
// loop.ErrOnLoop.
type PacketConn struct {
	g       *loop.Group
	raw     *loop.PacketListener
	local   net.Addr
	dropped atomic.Uint64
	done    chan struct{} // closed by Close

	// Set before ListenPacket returns.
	sender *loop.PacketConn // the socket that sends, of those that receive
	loops  []*loop.Loop     // those of the sockets

	mu     sync.Mutex
	closed bool // by Close, or because the group has ended

	// Reading.
	r           half
	into        []byte // of a call that waits; nil when it has been filled
	got         int    // bytes that were copied to into
	from        netip.AddrPort
	queue       []datagram // from first on, that no call has returned, the oldest first
	first       int
	hasWaited   bool // a call has waited
	queuedBytes int  // as maxQueuedBytes counts them

	// Writing.
	w        half
	writable bool // Writable was called since a write would have blocked, or before that
}

var (
	_ net.PacketConn       = (*PacketConn)(nil)
	_ loop.PacketHandler   = (*packetUpcalls)(nil)
	_ loop.WritableHandler = (*packetUpcalls)(nil)
)

// datagram is a received datagram; its block belongs to the queue.
type datagram struct {
	block []byte
	n     int
	from  netip.AddrPort
}

// ListenPacket binds to address, of network "udp", "udp4" or "udp6", as loop.Group.ListenPacket does, which has
// the options and errors. It receives on all loops of the group. It is a *PacketConn.
func ListenPacket(g *loop.Group, network, address string, options ...sock.Option) (net.PacketConn, error) {
	if g == nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: errNoGroup()}
	}
	p := &PacketConn{g: g, done: make(chan struct{})}
	p.r.cond.L, p.w.cond.L = &p.mu, &p.mu
	raw, err := g.ListenPacket(network, address, p.handler, options...)
	if err != nil {
		return nil, withOp("listen", network, err)
	}
	p.raw, p.local = raw, raw.Addr()
	go p.watchGroup()
	return p, nil
}

func (p *PacketConn) handler(raw *loop.PacketConn) loop.PacketHandler {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sender == nil {
		p.sender = raw
		raw.SetBroadcast(true) // as package net does; if it fails, sending to a broadcast address does, too
	}
	p.loops = append(p.loops, raw.Loop())
	return (*packetUpcalls)(p)
}

// watchGroup closes the PacketConn when all loops of the group have ended.
func (p *PacketConn) watchGroup() {
	for _, x := range p.g.Loops() {
		select {
		case <-x.Done():
		case <-p.done:
			return
		}
	}
	p.end()
}

// packetUpcalls is a PacketConn as its loops see it.
type packetUpcalls PacketConn

// Packets implements loop.PacketHandler.
func (u *packetUpcalls) Packets(_ *loop.PacketConn, ms []sock.Message) {
	p := (*PacketConn)(u)
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range ms {
		b := ms[i].Data[:ms[i].N]
		switch {
		case p.closed:
			return
		case p.into != nil:
			p.got, p.from = copy(p.into, b), ms[i].Addr
			p.into = nil
		case p.queuedBytes+len(b)+datagramOverheadBytes > maxQueuedBytes:
			p.dropped.Add(1)
		default:
			d := datagram{blocks.Get(len(b)), len(b), ms[i].Addr}
			copy(d.block, b)
			p.queue = append(p.queue, d)
			p.queuedBytes += len(b) + datagramOverheadBytes
		}
	}
	p.r.wake()
}

// Writable implements loop.WritableHandler.
func (u *packetUpcalls) Writable(*loop.PacketConn) {
	u.mu.Lock()
	u.writable = true
	u.w.wake()
	u.mu.Unlock()
}

// Close closes the sockets: calls in progress, and later ones, return net.ErrClosed. It waits for the loops,
// for 100 ms at the most, unless it is called in a callback; see loop.PacketListener.Close.
func (p *PacketConn) Close() error {
	if !p.end() {
		return &net.OpError{Op: "close", Net: "udp", Source: p.local, Err: net.ErrClosed}
	}
	close(p.done)
	p.raw.Close() // it may have been closed by the group
	return nil
}

// end wakes all calls, and drops what is queued. It returns false if it has done so before.
func (p *PacketConn) end() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.closed = true
	for _, d := range p.queue[p.first:] {
		blocks.Put(d.block)
	}
	p.queue, p.first, p.queuedBytes = nil, 0, 0
	p.r.end()
	p.w.end()
	return true
}

// LocalAddr returns the bound address, also after Close.
func (p *PacketConn) LocalAddr() net.Addr { return p.local }

// SetDeadline sets the deadlines of ReadFrom and WriteTo, as Conn.SetDeadline does.
func (p *PacketConn) SetDeadline(t time.Time) error {
	if !p.r.setDeadline(t, &p.closed) || !p.w.setDeadline(t, &p.closed) {
		return p.errSet(net.ErrClosed)
	}
	return nil
}

// SetReadDeadline sets the deadline of ReadFrom.
func (p *PacketConn) SetReadDeadline(t time.Time) error {
	if !p.r.setDeadline(t, &p.closed) {
		return p.errSet(net.ErrClosed)
	}
	return nil
}

// SetWriteDeadline sets the deadline of WriteTo.
func (p *PacketConn) SetWriteDeadline(t time.Time) error {
	if !p.w.setDeadline(t, &p.closed) {
		return p.errSet(net.ErrClosed)
	}
	return nil
}

func (p *PacketConn) errSet(err error) error {
	return &net.OpError{Op: "set", Net: "udp", Addr: p.local, Err: err}
}

// SyscallConn gives access to the descriptor of the socket that sends, for options. On Linux a group of several loops has a
// socket on each, and options of receiving would be needed on all of them: give those to ListenPacket.
func (p *PacketConn) SyscallConn() (syscall.RawConn, error) {
	return p.sender.SyscallConn()
}
