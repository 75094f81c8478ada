package loop

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/hostport"
	"github.com/pollux-io/pollux/internal/loglimit"
	"github.com/pollux-io/pollux/internal/spread"
	"github.com/pollux-io/pollux/sock"
)

// A PacketHandler is protocol code for a UDP socket. Packets gets received datagrams in batches
// of up to 64; the messages and their data belong to the loop and are valid until Packets
// returns. It may change them, and send them with WriteBatch. A handler that needs sessions
// keeps them by peer address.
type PacketHandler interface {
	Packets(p *PacketConn, ms []sock.Message)
}

// WritableHandler is a PacketHandler that is notified when a write would not block any more:
// Writable is called once after one or more writes of the socket have returned sock.ErrWouldBlock.
type WritableHandler interface{ Writable(p *PacketConn) }

// PacketListener is a UDP address that a group serves: a socket on each loop where the system
// balances between SO_REUSEPORT sockets (Linux), else one. The kernel delivers all datagrams of
// a peer to the same socket.
//
// Each datagram is delivered once. Broadcast and multicast datagrams are delivered to the socket
// of the first loop that works (Group.Loops); an address that receives nothing else has a single
// socket there. Join multicast groups on each socket: that is harmless, and if a loop fails, the
// socket of another takes over.
type PacketListener struct {
	g     *Group
	addr  net.Addr
	conns []*PacketConn

	closing        sync.Mutex // as in Listener; also guards up to the blank line
	closed         atomic.Bool
	broadcastIndex int // index in conns of the socket that receives broadcasts; only spread.UDP makes others
}

// PacketConn is a UDP socket on a loop. Its methods may be called from any goroutine and never
// block: a write that would block returns sock.ErrWouldBlock. Other errors are *net.OpErrors, which
// wrap ErrClosed once the socket is closed. Its loop reads, and PacketListener.Close closes it.
//
// The datagrams of one socket are sent in the order of the calls, from all goroutines.
//
// On io_uring, what is sent in a callback is queued, and sent with the loop's turn, in one
// system call for all sockets, and so is what other goroutines send while anything is queued; up
// to 256 datagrams of a socket are queued, also while the kernel's send buffer is full. Options
// that are set meanwhile apply to them. If the kernel refuses one then, such as because there is
// no route, that is counted (LoopStats.PacketErrors) and logged at a limited rate instead of
// returned.
type PacketConn struct {
	u        *sock.UDPSocket
	loop     *Loop
	ln       *PacketListener
	handler  PacketHandler
	released chan struct{} // closed when the driver has released the socket

	shut       atomic.Bool // by Close
	blocked    atomic.Bool // a write returned ErrWouldBlock: Writable is to be called
	mu         sync.Mutex  // guards up to the blank line
	inCallback bool        // in a callback, and the driver can send
	one        [1]sock.Message

	// Accessed by the loop only.
	socket driver.PacketSocket
	gone   bool
	warned loglimit.Limiter
}

// ListenPacket binds to address (network "udp", "udp4" or "udp6"; the host an IP address,
// "localhost" or empty) and calls handler for each socket, on its loop. It waits for the loops,
// so in a callback it returns ErrOnLoop.
//
// options are those of package sock for UDP sockets that are bound: each of the sockets gets them,
// and sock.Control is called for each. ReusePort shares the address with other processes; it is not
// needed for the loops. The error is a *net.OpError, as for Listen.
func (g *Group) ListenPacket(network, address string, handler func(*PacketConn) PacketHandler, options ...sock.Option) (*PacketListener, error) {
	at, err := hostport.Parse(network, "udp", address)
	if err != nil {
		return nil, &net.OpError{Op: "bind", Net: network, Err: err}
	}
	if err := g.checkListen(handler == nil); err != nil {
		return nil, &net.OpError{Op: "bind", Net: network, Addr: net.UDPAddrFromAddrPort(at), Err: err}
	}
	sockets, err := spread.UDP(g.socketsToListen(), at, net.Interfaces, g.onNetwork(options)...)
	if err != nil {
		return nil, err
	}
	return g.servePacket(sockets, handler)
}

// ServePacket serves a UDP socket that was made elsewhere, such as an inherited one, on one
// loop. The group owns the socket from now on, even if ServePacket fails. options are those that an
// open socket can take: ReadBuffer and WriteBuffer of package sock. Errors are as for ListenPacket.
func (g *Group) ServePacket(u *sock.UDPSocket, handler func(*PacketConn) PacketHandler, options ...sock.Option) (*PacketListener, error) {
	if u == nil {
		return nil, &net.OpError{Op: "bind", Net: "udp", Err: errNil("a socket")}
	}
	err := u.SetOptions(options...)
	if err == nil {
		err = g.checkNetwork(handle.Of(u))
	}
	if err != nil {
		addr := net.UDPAddrFromAddrPort(u.LocalAddr())
		u.Close()
		return nil, &net.OpError{Op: "bind", Net: "udp", Addr: addr, Err: causeOf(err)}
	}
	return g.servePacket([]*sock.UDPSocket{u}, handler)
}

func (g *Group) servePacket(sockets []*sock.UDPSocket, handler func(*PacketConn) PacketHandler) (*PacketListener, error) {
	pl := &PacketListener{g: g, addr: net.UDPAddrFromAddrPort(sockets[0].LocalAddr())}
	loops := g.workingLoops()
	for i, u := range sockets {
		p := &PacketConn{u: u, loop: loops[i%len(loops)], ln: pl, released: make(chan struct{})}
		p.warned = loglimit.Limiter{To: g.config.Logger, Burst: 1}
		p.socket = driver.PacketSocket{UDPSocket: u, Up: (*packetUpcalls)(p)}
		pl.conns = append(pl.conns, p)
	}
	if err := g.register(handler == nil, func() { g.packets = append(g.packets, pl) }); err != nil {
		spread.CloseAll(sockets)
		return nil, &net.OpError{Op: "bind", Net: "udp", Addr: pl.addr, Err: err}
	}
	h := g.newHandOver(len(pl.conns), pl.addr)
	for _, p := range pl.conns {
		h.start(p.loop, func() error { return p.begin(handler) }, p.end)
	}
	if err := h.wait(); err != nil {
		pl.Close()
		return nil, &net.OpError{Op: "bind", Net: "udp", Addr: pl.addr, Err: err}
	}
	return pl, nil
}

// Addr returns the bound address.
func (pl *PacketListener) Addr() net.Addr { return pl.addr }

// closeTimeout is how long PacketListener.Close waits for loops that are in a callback.
const closeTimeout = 100 * time.Millisecond

// Close closes the sockets: once it has returned, no call of Packets or Writable begins, and the
// address is free. For that it waits for the loops, but 100 ms at the most, since a callback may
// itself wait for the caller; in a callback of the group it does not wait. Then, on io_uring,
// the address is free one turn of the loops later. If the socket was given to ServePacket, other
// processes may still have a descriptor.
func (pl *PacketListener) Close() error {
	notified, first := pl.requestEnd(true)
	pl.g.mu.Lock() // after requestEnd, so that Shutdown waits for it
	pl.g.packets = slices.DeleteFunc(pl.g.packets, func(x *PacketListener) bool { return x == pl })
	pl.g.mu.Unlock()
	if !first {
		return &net.OpError{Op: "close", Net: "udp", Addr: pl.addr, Err: ErrClosed}
	}
	if pl.g.checkNotOnLoop() == nil {
		pl.awaitReleased(notified)
	}
	return nil
}

// end is Close for Shutdown, which waits for the loops itself, and lets running callbacks send.
func (pl *PacketListener) end() bool {
	_, first := pl.requestEnd(false)
	return first
}

// requestEnd asks the loops to end the sockets, and returns those whose loops will. With
// immediately set, it closes them first: from then on they get no callbacks and send nothing.
func (pl *PacketListener) requestEnd(immediately bool) (notified []*PacketConn, first bool) {
	pl.closing.Lock()
	defer pl.closing.Unlock()
	if pl.closed.Swap(true) {
		return nil, false
	}
	for _, p := range pl.conns {
		if immediately {
			p.shut.Store(true)
			p.u.Close()
		}
		if !p.loop.putEnd(p.end) {
			p.u.Close() // the loop does not call its driver any more, and may never have bound it
			continue
		}
		notified = append(notified, p)
	}
	return notified, true
}

// reassignBroadcasts lets another socket receive broadcasts and multicasts, if p did and only
// p's loop has ended: the listener stays open.
func (pl *PacketListener) reassignBroadcasts(p *PacketConn) {
	pl.closing.Lock()
	defer pl.closing.Unlock()
	if pl.closed.Load() || pl.conns[pl.broadcastIndex] != p {
		return
	}
	for i, other := range pl.conns {
		if other.loop.failed.Load() == nil && spread.ReceiveBroadcasts(other.u) == nil {
			pl.broadcastIndex = i
			return
		}
	}
}

// awaitReleased waits until the drivers have released the sockets.
func (pl *PacketListener) awaitReleased(sockets []*PacketConn) {
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	for _, p := range sockets {
		select {
		case <-p.released:
		case <-pl.g.stopped:
		case <-timer.C:
			return
		}
	}
}

// Write sends b to the peer that Connect has set, as one datagram: all of b or nothing. Without a
// peer the error is the system's (EDESTADDRREQ). If it returns sock.ErrWouldBlock, Writable is called
// when the socket is writable again. Stats counts what is sent.
func (p *PacketConn) Write(b []byte) (int, error) {
	if n, err, done := p.sendOne(b, netip.AddrPort{}); done {
		return n, err
	}
	return p.noteSent(p.u.Write(b))
}

// WriteTo is Write to addr instead of the peer. An address that is not valid for the socket is an
// error; nothing is sent.
func (p *PacketConn) WriteTo(b []byte, addr netip.AddrPort) (int, error) {
	if addr.IsValid() { // otherwise sock returns the error
		if n, err, done := p.sendOne(b, addr); done {
			return n, err
		}
	}
	return p.noteSent(p.u.WriteTo(b, addr))
}

// WriteBatch sends the datagrams in turn, each to its Addr, or to the peer if that is the zero
// AddrPort, with one system call for 64 of them where the system has such a call. It returns how many
// it has sent. If those are fewer than len(ms), it also returns the error of the next datagram, such
// as sock.ErrWouldBlock.
func (p *PacketConn) WriteBatch(ms []sock.Message) (int, error) {
	if n, err, done := p.send(ms); done {
		return n, err
	}
	n, err := p.u.WriteBatch(ms)
	p.noteSent(dataBytes(ms[:n]), err)
	return n, err
}

// Connect sets or changes the socket's peer: Write sends to it, and datagrams from other senders are
// dropped. It sends nothing. Datagrams that Write has queued before still go to the previous peer.
func (p *PacketConn) Connect(addr netip.AddrPort) error {
	p.keepPeer()
	return p.u.Connect(addr)
}

// Disconnect removes the peer: the socket receives from all senders again. Datagrams that Write has
// queued before still go to the previous peer.
func (p *PacketConn) Disconnect() error {
	p.keepPeer()
	return p.u.Disconnect()
}

func (p *PacketConn) keepPeer() {
	if p.loop.packets != nil && p.socket.Queued.Load() {
		p.loop.packets.KeepPeer(&p.socket)
	}
}

func dataBytes(ms []sock.Message) (n int) {
	for i := range ms {
		n += len(ms[i].Data)
	}
	return n
}

// noteSent counts a write made by the socket itself, and awaits writability if it would block.
func (p *PacketConn) noteSent(bytes int, err error) (int, error) {
	p.loop.sentDirectly.Add(uint64(bytes))
	if err == sock.ErrWouldBlock && !p.blocked.Swap(true) {
		p.loop.put(op{f: p.awaitWritable})
	}
	return bytes, err
}

func (p *PacketConn) awaitWritable() {
	if !p.gone {
		p.loop.drv.AwaitWritable(&p.socket)
	}
}

// sendOne is send for one datagram.
func (p *PacketConn) sendOne(b []byte, addr netip.AddrPort) (n int, err error, done bool) {
	if !p.lockIfDriverSends() {
		return 0, nil, false
	}
	defer p.mu.Unlock()
	p.one[0] = sock.Message{Data: b, Addr: addr}
	n, err, done = p.sendLocked(p.one[:])
	p.one[0] = sock.Message{}
	if n == 0 {
		return 0, err, done
	}
	return len(b), nil, true
}

// send has the driver send, if it must; done is false if the caller should write to the socket.
func (p *PacketConn) send(ms []sock.Message) (n int, err error, done bool) {
	if !p.lockIfDriverSends() {
		return 0, nil, false
	}
	defer p.mu.Unlock()
	return p.sendLocked(ms)
}

// lockIfDriverSends locks p.mu and returns true if the driver may have to send: in a callback,
// and while it has datagrams queued. A closed socket's own methods return the error.
func (p *PacketConn) lockIfDriverSends() bool {
	if p.loop.packets == nil || p.shut.Load() {
		return false
	}
	p.mu.Lock()
	if !p.inCallback && !p.socket.Queued.Load() {
		p.mu.Unlock()
		return false
	}
	return true
}

// sendLocked may run on any goroutine. While p.mu is held, the loop does not leave its callback.
func (p *PacketConn) sendLocked(ms []sock.Message) (n int, err error, done bool) {
	if p.inCallback {
		n, err = p.loop.packets.SendPackets(&p.socket, ms)
		done = true
	} else {
		n, err, done = p.loop.packets.QueuePackets(&p.socket, ms)
	}
	p.loop.sentDirectly.Add(uint64(dataBytes(ms[:n])))
	return n, err, done
}

// Loop returns the socket's loop.
func (p *PacketConn) Loop() *Loop { return p.loop }

func (p *PacketConn) begin(handler func(*PacketConn) PacketHandler) error {
	if p.alreadyClosed() {
		return p.loop.endedError()
	}
	p.loop.call(workListenPacket, handler, func() { p.handler = handler(p) })
	if p.handler == nil {
		return errNoHandler
	}
	err := p.loop.drv.Bind(&p.socket)
	if err != nil && p.alreadyClosed() { // closed in the meantime, which explains err
		return p.loop.endedError()
	}
	return err
}

// alreadyClosed is as for acceptor.
func (p *PacketConn) alreadyClosed() bool {
	return p.gone || p.ln.closed.Load() || p.loop.failed.Load() != nil
}

func (p *PacketConn) end() {
	if !p.gone {
		p.gone = true
		p.loop.drv.Unbind(&p.socket)
		p.ln.reassignBroadcasts(p)
	}
}

// callback runs f as a callback of the handler.
func (p *PacketConn) callback(f func()) {
	l := p.loop
	l.wakeUp()
	l.runningPacket.Store(p)
	if l.packets != nil {
		p.setInCallback(true)
		defer p.setInCallback(false)
	}
	l.guard(workPackets, f)
	l.runningPacket.Store(nil)
}

func (p *PacketConn) setInCallback(on bool) {
	p.mu.Lock()
	p.inCallback = on
	p.mu.Unlock()
}

// packetUpcalls is PacketConn as its driver sees it.
type packetUpcalls PacketConn

// Packets implements driver.PacketUpcalls.
func (u *packetUpcalls) Packets(ms []sock.Message) {
	p := (*PacketConn)(u)
	if p.shut.Load() {
		return
	}
	p.loop.counts.messages += uint64(len(ms))
	for i := range ms {
		p.loop.counts.bytesIn += uint64(ms[i].N)
	}
	p.callback(func() { p.handler.Packets(p, ms) })
}

// Writable implements driver.PacketUpcalls.
func (u *packetUpcalls) Writable() {
	p := (*PacketConn)(u)
	p.blocked.Store(false)
	if h, ok := p.handler.(WritableHandler); ok && !p.shut.Load() {
		p.callback(func() { h.Writable(p) })
	}
}

// Released implements driver.PacketUpcalls.
func (u *packetUpcalls) Released() { close(u.released) }

// SendFailed implements driver.PacketUpcalls.
func (u *packetUpcalls) SendFailed(n int, err error) {
	u.loop.counts.packetErrors++
	u.loop.sentDirectly.Add(-uint64(n))
	u.warned.Warn("pollux: the kernel refused to send datagrams; LoopStats.PacketErrors counts them", "local", u.u.LocalAddr(), "error", err)
}
