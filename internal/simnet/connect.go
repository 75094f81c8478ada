package simnet

import (
	"net/netip"
	"slices"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
)

// How a connection begins: the client sends a SYN; the listener's host makes the server's end, an
// embryo, and answers with a SYN-ACK, with which the client is connected; its ACK puts the embryo into
// the listener's queue. Unix sockets connect within the call.

func (t *streamSocket) bindLocked(a address) syscall.Errno {
	if t.unix {
		return t.s.host.bindNameLocked(t.s, a.name)
	}
	if !a.ip.IsValid() {
		return syscall.EINVAL
	}
	return t.s.host.bindLocked(t.s, a.ip)
}

// bindNameLocked gives a Unix socket a name of this host.
func (h *Host) bindNameLocked(s *Socket, name string) syscall.Errno {
	switch {
	case s.local.name != "" || name == "":
		return syscall.EINVAL
	case h.names[name] != nil:
		return syscall.EADDRINUSE
	}
	s.local.name = name
	h.names[name] = s
	return 0
}

// listens reports whether s is a listener.
func (s *Socket) listens() bool {
	t, ok := s.protocol.(*streamSocket)
	return ok && t.state == streamListening
}

func (t *streamSocket) listenLocked(backlog int) syscall.Errno {
	switch {
	case t.state != streamIdle && t.state != streamListening:
		return syscall.EINVAL
	case t.unix && t.s.local.name == "":
		return syscall.EINVAL
	case t.unix:
	case !t.s.local.ip.IsValid():
		ip := netip.IPv4Unspecified()
		if t.s.family == sys.AF_INET6 {
			ip = netip.IPv6Unspecified()
		}
		if e := t.s.host.bindLocked(t.s, netip.AddrPortFrom(ip, 0)); e != 0 {
			return e
		}
	case t.state == streamIdle && t.otherListensLocked():
		return syscall.EADDRINUSE
	}
	t.state = streamListening
	t.backlog = max(backlog, 0)
	return 0
}

// otherListensLocked reports whether another socket already listens on the address.
func (t *streamSocket) otherListensLocked() bool {
	s := t.s
	return slices.ContainsFunc(s.host.ports[s.portOf(s.local.ip.Port())], func(other *Socket) bool {
		return other != s && other.listens() && overlap(s, s.local.ip.Addr(), other) &&
			!(s.options.reusePort && other.options.reusePort)
	})
}

func (t *streamSocket) acceptLocked() (*Socket, syscall.Errno) {
	switch {
	case t.state != streamListening:
		return nil, syscall.EINVAL
	case len(t.accepts) == 0:
		return nil, syscall.EAGAIN
	}
	conn := t.accepts[0]
	t.accepts[0] = nil
	t.accepts = t.accepts[1:]
	conn.stream().listener = nil
	return conn, 0
}

// isFull reports whether a listener takes no more connections: as in Linux, one more than the backlog
// fits.
func (t *streamSocket) isFull() bool { return len(t.accepts)+len(t.embryos) > t.backlog }

func (t *streamSocket) connectLocked(to address) syscall.Errno {
	switch {
	case t.unix:
		return t.connectUnixLocked(to.name)
	case to == (address{}): // AF_UNSPEC
		if t.state != streamListening {
			t.disconnectLocked()
		}
		return 0
	case t.state == streamConnecting:
		return syscall.EALREADY
	case t.state == streamOpen && t.unconfirmed:
		t.unconfirmed = false
		return 0
	case t.state == streamOpen, t.state == streamListening:
		return syscall.EISCONN
	case t.used:
		// Linux would connect again; packets of the first connection may be on the way here.
		if e := t.s.takeErrorLocked(); e != 0 {
			return e
		}
		return syscall.ECONNABORTED
	}
	return t.connectTCPLocked(to.ip)
}

func (t *streamSocket) connectTCPLocked(to netip.AddrPort) syscall.Errno {
	s := t.s
	switch to.Addr() {
	case netip.IPv4Unspecified():
		to = netip.AddrPortFrom(loopback4, to.Port())
	case netip.IPv6Unspecified():
		to = netip.AddrPortFrom(loopback6, to.Port())
	}
	dst, from, e := s.host.routeLocked(to.Addr())
	if e != 0 || to.Addr().IsMulticast() || isBroadcast(to.Addr()) {
		return syscall.ENETUNREACH
	}
	switch local := s.local.ip; {
	case !local.IsValid():
		if e := s.host.bindLocked(s, netip.AddrPortFrom(from, 0)); e != 0 {
			return syscall.EADDRNOTAVAIL
		}
	case local.Addr().IsUnspecified():
		s.local.ip = netip.AddrPortFrom(from, local.Port())
	}
	t.remote.ip = to
	t.state, t.used, t.unconfirmed = streamConnecting, true, true
	t.timers.began = t.net().nowLocked()
	t.armLocked()
	p := t.newPacketLocked(synPacket)
	p.to = dst
	t.net().sendLocked(p)
	return syscall.EINPROGRESS
}

// receiveSYNLocked answers a SYN. It reports whether it keeps the packet.
func (h *Host) receiveSYNLocked(p *packet) (kept bool) {
	l := h.listenerLocked(p.dst.ip)
	switch {
	case l == nil:
		h.refuseSYNLocked(p)
		return false
	case l.isFull():
		h.n.lostLocked(p) // the client sends it again
		return true
	}
	child, t := l.newChildLocked(p.sock)
	child.local, t.remote = p.dst, p.src
	t.state = streamEmbryo
	l.embryos = append(l.embryos, child)
	answer := t.newPacketLocked(synAckPacket)
	t.announced = t.windowLimit()
	answer.limit = t.announced
	h.n.sendLocked(answer)
	return false
}

// refuseSYNLocked answers a SYN that no socket listens for.
func (h *Host) refuseSYNLocked(p *packet) {
	r := h.n.newPacketLocked()
	r.kind, r.sock, r.peer, r.from, r.to, r.src, r.dst = resetPacket, nil, p.sock, h, p.from, p.dst, p.src
	h.n.sendLocked(r)
}

// listenerLocked returns the listener for an address: one that is bound to just that, or else to all.
// Among several (SO_REUSEPORT) the seed chooses.
func (h *Host) listenerLocked(to netip.AddrPort) *streamSocket {
	var found []*Socket
	for _, s := range h.ports[port{tcp, to.Port()}] {
		if !s.listens() || !s.isBoundTo(to.Addr()) {
			continue
		}
		if s.local.ip.Addr() == to.Addr() && len(found) > 0 && found[0].local.ip.Addr() != to.Addr() {
			found = found[:0]
		}
		if len(found) == 0 || s.local.ip.Addr() == found[0].local.ip.Addr() {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		return nil
	case 1:
		return found[0].stream()
	}
	return found[h.n.rand.IntN(len(found))].stream()
}

// newChildLocked returns the server's end of a connection from the socket of a client. It inherits
// the options of the listener.
func (t *streamSocket) newChildLocked(client *Socket) (*Socket, *streamSocket) {
	l := t.s
	child := &Socket{host: l.host, family: l.family, typ: l.typ, options: l.options}
	c := newStream(child)
	child.protocol = c
	c.peer, c.listener = client, t
	l.host.addLocked(child)
	return child, c
}

// connectedLocked is called with the SYN-ACK.
func (t *streamSocket) connectedLocked(p *packet) {
	if t.state == streamConnecting {
		t.peer = p.sock
		t.limit = p.limit
		t.state = streamOpen
		t.announced = t.windowLimit()
		t.openedLocked()
	}
	t.acknowledgeLocked()
	t.s.changedLocked()
	t.transmitLocked() // a FIN, after shutdown
}

// acceptedLocked is called with every packet of the client: the first puts an embryo into the queue of
// its listener.
func (t *streamSocket) acceptedLocked() {
	if t.state != streamEmbryo {
		return
	}
	l := t.listener
	l.forgetEmbryoLocked(t.s)
	t.state = streamOpen
	t.openedLocked()
	l.accepts = append(l.accepts, t.s)
	l.s.changedLocked()
}

// dropEmbryoLocked ends an embryo whose client does not answer, or resets it. Nothing else refers to
// its socket, and no descriptor will close it.
func (t *streamSocket) dropEmbryoLocked() {
	if t.state == streamEmbryo {
		t.listener.forgetEmbryoLocked(t.s)
		t.s.closed = true
		t.overLocked()
		t.s.host.unbindLocked(t.s)
	}
}

func (t *streamSocket) forgetEmbryoLocked(child *Socket) {
	t.embryos = slices.DeleteFunc(t.embryos, func(e *Socket) bool { return e == child })
}

// connectUnixLocked connects to a listener of this host.
func (t *streamSocket) connectUnixLocked(name string) syscall.Errno {
	other := t.s.host.names[name]
	switch {
	case name == "":
		return syscall.EINVAL
	case other == nil && sys.IsAbstractUnix(name):
		return syscall.ECONNREFUSED
	case other == nil:
		return syscall.ENOENT
	case other.typ != t.s.typ:
		return syscall.EPROTOTYPE
	case !other.listens() || other.stream().closedRead:
		return syscall.ECONNREFUSED
	case other.stream().isFull():
		return syscall.EAGAIN
	case t.state == streamListening:
		return syscall.EINVAL
	case t.state != streamIdle:
		return syscall.EISCONN
	}
	l := other.stream()
	child, c := l.newChildLocked(t.s)
	child.local, c.remote = address{name: name}, t.s.local
	t.remote, t.peer = child.local, child
	t.state, c.state = streamOpen, streamOpen
	l.accepts = append(l.accepts, child)
	other.changedLocked()
	t.s.changedLocked()
	return 0
}
