package loop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/sock"
)

// A PacketHandler is protocol code for a UDP socket. Packets gets what has come, in
// batches of up to 64; the messages and their data are the loop's own memory, valid
// until it returns. It may change them, and send them with WriteBatch. Sessions by peer
// are the handler's to keep.
type PacketHandler interface {
	Packets(p *PacketConn, ms []sock.Message)
}

// WritableHandler is called when a socket that would have blocked may send again.
type WritableHandler interface{ Writable(p *PacketConn) }

// PacketListener is a UDP address that a group serves: a socket on each loop where
// the system has SO_REUSEPORT with balancing (Linux), else one. The kernel keeps a
// peer's datagrams on one socket.
type PacketListener struct {
	g     *Group
	addr  net.Addr
	conns []*PacketConn

	mu     sync.Mutex
	closed bool
}

// PacketConn is a UDP socket on a loop. Its methods may be called from any goroutine
// and never block: they are those of sock.UDPSocket, and return sock.ErrWouldBlock
// where the kernel has no room. Do not read from it, nor close it: its loop does.
type PacketConn struct {
	*sock.UDPSocket
	loop    *Loop
	handler PacketHandler

	// The loop's own.
	watch  driver.Watch
	batch  []sock.Message
	memory []byte // where they are received into
	gone   bool
}

const (
	packetBatch = 64
	// maxDatagram is the room for one datagram: none is longer.
	maxDatagram = 64 << 10
	// batchesPerTurn bounds what one socket may bring in a turn.
	batchesPerTurn = 8
)

// ListenPacket binds to address (network "udp", "udp4" or "udp6"; the host an IP
// address, "localhost" or empty) and calls handler for each socket, on its loop.
func (g *Group) ListenPacket(network, address string, handler func(*PacketConn) PacketHandler) (*PacketListener, error) {
	at, err := resolveUDP(network, address)
	if err != nil {
		return nil, &net.OpError{Op: "bind", Net: network, Err: err}
	}
	sockets, err := g.bind(at)
	if err != nil {
		return nil, err
	}
	return g.servePacket(sockets, handler)
}

// ServePacket serves a UDP socket that was made elsewhere, such as one that was
// inherited, on one loop: it belongs to the group from now on.
func (g *Group) ServePacket(u *sock.UDPSocket, handler func(*PacketConn) PacketHandler) (*PacketListener, error) {
	return g.servePacket([]*sock.UDPSocket{u}, handler)
}

func (g *Group) servePacket(sockets []*sock.UDPSocket, handler func(*PacketConn) PacketHandler) (*PacketListener, error) {
	pl := &PacketListener{g: g, addr: net.UDPAddrFromAddrPort(sockets[0].LocalAddr())}
	for i, u := range sockets {
		pl.conns = append(pl.conns, &PacketConn{UDPSocket: u, loop: g.loops[i]})
	}
	g.mu.Lock()
	if g.closing {
		g.mu.Unlock()
		for _, u := range sockets {
			u.Close()
		}
		return nil, &net.OpError{Op: "bind", Net: "udp", Addr: pl.addr, Err: ErrClosed}
	}
	g.packets[pl] = struct{}{}
	g.mu.Unlock()
	errs := make(chan error, len(pl.conns))
	for _, p := range pl.conns {
		p.loop.Run(func() { errs <- p.begin(handler) })
	}
	var err error
	for range pl.conns {
		err = errors.Join(err, pl.g.await(errs))
	}
	if err != nil {
		pl.Close()
		return nil, err
	}
	return pl, nil
}

func resolveUDP(network, address string) (netip.AddrPort, error) {
	tcp, ok := strings.CutPrefix(network, "udp")
	if !ok {
		return netip.AddrPort{}, fmt.Errorf(`%q: unknown network; there are "udp", "udp4" and "udp6"`, network)
	}
	return ResolveTCP("tcp"+tcp, address)
}

func (g *Group) bind(at netip.AddrPort) (sockets []*sock.UDPSocket, err error) {
	n := 1
	var options []sock.Option
	if runtime.GOOS == "linux" && len(g.loops) > 1 {
		if at.Port() != 0 {
			// With SO_REUSEPORT a second server would share the port unnoticed.
			probe, err := sock.ListenUDP(at)
			if err != nil {
				return nil, err
			}
			probe.Close()
		}
		n = len(g.loops)
		options = append(options, sock.ReusePort())
	}
	for range n {
		u, err := sock.ListenUDP(at, options...)
		if err != nil {
			for _, u := range sockets {
				u.Close()
			}
			return nil, err
		}
		at = u.LocalAddr()
		sockets = append(sockets, u)
	}
	return sockets, nil
}

// Addr returns the address bound to.
func (pl *PacketListener) Addr() net.Addr { return pl.addr }

// Close closes the sockets.
func (pl *PacketListener) Close() error {
	pl.g.mu.Lock()
	delete(pl.g.packets, pl)
	pl.g.mu.Unlock()
	if !pl.end() {
		return &net.OpError{Op: "close", Net: "udp", Addr: pl.addr, Err: ErrClosed}
	}
	return nil
}

func (pl *PacketListener) end() bool {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	if pl.closed {
		return false
	}
	pl.closed = true
	for _, p := range pl.conns {
		p.loop.Run(p.end)
	}
	return true
}

// Write is sock.UDPSocket's; Stats counts what it sends.
func (p *PacketConn) Write(b []byte) (int, error) { return p.count(p.UDPSocket.Write(b)) }

// WriteTo is sock.UDPSocket's; Stats counts what it sends.
func (p *PacketConn) WriteTo(b []byte, addr netip.AddrPort) (int, error) {
	return p.count(p.UDPSocket.WriteTo(b, addr))
}

// WriteBatch is sock.UDPSocket's; Stats counts what it sends.
func (p *PacketConn) WriteBatch(ms []sock.Message) (int, error) {
	n, err := p.UDPSocket.WriteBatch(ms)
	bytes := 0
	for i := range ms[:n] {
		bytes += len(ms[i].Data)
	}
	p.count(bytes, nil)
	return n, err
}

func (p *PacketConn) count(bytes int, err error) (int, error) {
	p.loop.directBytes.Add(uint64(bytes))
	return bytes, err
}

// Loop returns the socket's loop.
func (p *PacketConn) Loop() *Loop { return p.loop }

func (p *PacketConn) begin(handler func(*PacketConn) PacketHandler) error {
	p.loop.protect("ListenPacket's function", func() { p.handler = handler(p) })
	if p.handler == nil {
		return &net.OpError{Op: "bind", Net: "udp", Addr: net.UDPAddrFromAddrPort(p.LocalAddr()), Err: errors.New("there is no handler")}
	}
	p.memory = make([]byte, packetBatch*maxDatagram)
	p.batch = make([]sock.Message, packetBatch)
	p.makeRoom(packetBatch)
	p.watch = driver.Watch{Source: p.UDPSocket, Up: p}
	return p.loop.drv.Watch(&p.watch)
}

// makeRoom undoes what the handler may have done to the first n messages.
func (p *PacketConn) makeRoom(n int) {
	for i := range p.batch[:n] {
		p.batch[i].Data = p.memory[i*maxDatagram : (i+1)*maxDatagram]
	}
}

func (p *PacketConn) end() {
	if !p.gone {
		p.gone = true
		if p.watch.Up != nil {
			p.loop.drv.Unwatch(&p.watch)
		}
		p.UDPSocket.Close()
	}
}

// Ready implements driver.WatchUpcalls.
func (p *PacketConn) Ready(ev pollux.Event) {
	p.loop.wakeUp()
	if ev.Writable() {
		if h, ok := p.handler.(WritableHandler); ok {
			p.loop.protect("a packet handler", func() { h.Writable(p) })
		}
	}
	if ev.Readable() {
		p.receive()
	}
}

// receive takes what has come, a few batches; for the rest it comes again after the
// others.
func (p *PacketConn) receive() {
	for range batchesPerTurn {
		if p.gone {
			return
		}
		n, err := p.ReadBatch(p.batch)
		if err == sock.ErrWouldBlock {
			return
		}
		if err != nil {
			continue // an ICMP error about something sent; it is taken off the socket by now
		}
		p.loop.counts.messages += uint64(n)
		for i := range p.batch[:n] {
			p.loop.counts.bytesIn += uint64(p.batch[i].N)
		}
		p.loop.protect("a packet handler", func() { p.handler.Packets(p, p.batch[:n]) })
		p.makeRoom(n)
		if n < len(p.batch) {
			return
		}
	}
	p.loop.Run(p.receive)
}
