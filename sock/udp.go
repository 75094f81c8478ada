package sock

import (
	"net"
	"net/netip"
	"sync"
	"syscall"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// A UDPSocket sends and receives datagrams.
type UDPSocket struct {
	Descriptor
	family int
}

// ListenUDP binds a socket to addr. With port 0 the system chooses a free port, which LocalAddr
// returns. [::] includes the IPv4 addresses, unless V6Only(true) is given. The errors are those of
// ListenTCP.
//
// A socket on all addresses sends from the source address that the system chooses for the route,
// as in package net. A peer that has connected its socket to another address of this host does not
// receive such a datagram: on a host with several addresses, listen on each.
func ListenUDP(addr netip.AddrPort, options ...Option) (*UDPSocket, error) {
	m := maker{op: "bind", kind: handle.UDPSocket, options: applyOptions(options)}
	a, err := m.openIP(sys.SOCK_DGRAM, addr)
	if err != nil {
		return nil, err
	}
	if err := m.bind(&a); err != nil {
		return nil, err
	}
	return newUDP(m.fd, a.Family()), nil
}

// ConnectUDP returns a socket whose peer is addr: Write sends to the peer, and datagrams from other
// senders are dropped. Connecting sends no packet and has ended on return. The error is a
// *net.OpError with ErrBadArgument, for an invalid addr too, or with the system's error, such as
// ENETUNREACH or EMFILE.
func ConnectUDP(addr netip.AddrPort, options ...Option) (*UDPSocket, error) {
	m := connectMaker(handle.UDPSocket, options)
	a, err := m.openIP(sys.SOCK_DGRAM, addr)
	if err != nil {
		return nil, err
	}
	if err := m.bindLocal(a.Family()); err != nil {
		return nil, err
	}
	if err := m.connect(&a); err != nil {
		return nil, err
	}
	return newUDP(m.fd, a.Family()), nil
}

func newUDP(fd sys.FD, family int) *UDPSocket {
	u := &UDPSocket{family: family}
	u.h().Init(fd, handle.UDPSocket)
	return u
}

// Connect sets or changes the socket's peer (connect(2)): Write sends to the peer, and
// datagrams from other senders are dropped. The error is a *net.OpError: with ErrBadArgument for
// an address that is not valid for the socket's family, with ErrClosed, or with the system's error,
// such as ENETUNREACH.
func (u *UDPSocket) Connect(addr netip.AddrPort) error {
	var a sys.Sockaddr
	if !addr.IsValid() || !a.SetAddrPort(addr, u.family) {
		return withDestination(u.opError("connect", badAddr(addr, u.family)), net.UDPAddrFromAddrPort(addr))
	}
	if err := u.connectTo(&a); err != nil {
		return withDestination(err, net.UDPAddrFromAddrPort(addr))
	}
	return nil
}

// Disconnect removes the peer: the socket receives from all senders again. The error is a
// *net.OpError with ErrClosed or the system's error.
func (u *UDPSocket) Disconnect() error {
	a := sys.Unspecified()
	return u.connectTo(&a)
}

// withDestination sets the address of err, a *net.OpError, to the destination instead of the peer.
func withDestination(err error, to net.Addr) error {
	err.(*net.OpError).Addr = to
	return err
}

func (u *UDPSocket) connectTo(a *sys.Sockaddr) error {
	return u.withFD("connect", func(fd sys.FD) error {
		if e := sys.Connect(fd, a); e != 0 && !sys.DisconnectDone(a, e) {
			return u.opError("connect", sys.AddressError("connect", e, a))
		}
		return nil
	})
}

// LocalAddr returns the socket's local address, or the zero AddrPort if it is closed.
func (u *UDPSocket) LocalAddr() netip.AddrPort { return ipAddr(localAddr(&u.Descriptor)) }

// RemoteAddr returns the peer's address, or the zero AddrPort if there is no peer.
func (u *UDPSocket) RemoteAddr() netip.AddrPort { return ipAddr(peerAddr(&u.Descriptor)) }

// ReadFrom receives one datagram into b and returns its length and sender. An empty
// datagram is 0 bytes and no error. If a datagram is longer than b, ReadFrom fills b and
// returns ErrTruncated.
func (u *UDPSocket) ReadFrom(b []byte) (int, netip.AddrPort, error) {
	var from sys.Sockaddr
	n, err := readFrom(&u.Descriptor, b, &from)
	if err != nil && err != ErrTruncated {
		return 0, netip.AddrPort{}, err
	}
	return n, from.AddrPort(), err
}

// Read is ReadFrom without the sender. If the socket has a peer, the error may be ECONNREFUSED: the
// peer has refused an earlier Write. The socket remains usable.
func (u *UDPSocket) Read(b []byte) (int, error) {
	var from sys.Sockaddr
	return readFrom(&u.Descriptor, b, &from)
}

func readFrom(d *Descriptor, b []byte, from *sys.Sockaddr) (int, error) {
	fd, ok := d.h().Use()
	if !ok {
		return 0, d.opError("read", net.ErrClosed)
	}
	n, truncated, e := sys.RecvFrom(fd, b, from)
	d.h().Done()
	switch {
	case e == 0 && truncated:
		return n, ErrTruncated
	case e == 0:
		return n, nil
	case sys.WouldBlock(e):
		d.h().Rearm(readable)
		return 0, ErrWouldBlock
	}
	d.h().Rearm(readable) // re-arm for the next error or datagram
	return 0, d.callError("read", "recvmsg", e)
}

// WriteTo sends b to addr as one datagram: all of b or nothing. An address that is not valid for the
// socket's family is ErrBadArgument; a datagram that is too long is EMSGSIZE. If the socket has a
// peer, macOS and the BSDs return EISCONN.
func (u *UDPSocket) WriteTo(b []byte, addr netip.AddrPort) (int, error) {
	var a sys.Sockaddr
	if !addr.IsValid() || !a.SetAddrPort(addr, u.family) {
		return 0, &net.OpError{Op: "write", Net: "udp", Addr: net.UDPAddrFromAddrPort(addr), Err: badAddr(addr, u.family)}
	}
	return writeTo(&u.Descriptor, b, &a)
}

// Write sends b to the peer as one datagram: all of b or nothing. If there is no peer, the error is
// the system's, such as EDESTADDRREQ. A datagram that is too long is EMSGSIZE.
func (u *UDPSocket) Write(b []byte) (int, error) { return writeTo(&u.Descriptor, b, nil) }

func writeTo(d *Descriptor, b []byte, to *sys.Sockaddr) (int, error) {
	fd, ok := d.h().Use()
	if !ok {
		return 0, sendFailure(d, net.ErrClosed, to)
	}
	var n int
	var e syscall.Errno
	if to == nil {
		n, e = sys.Send(fd, b, 0)
	} else {
		n, e = sys.SendTo(fd, b, to)
	}
	d.h().Done()
	switch {
	case e == 0:
		return n, nil
	case sys.WouldBlock(e):
		d.h().Rearm(writable)
		return 0, ErrWouldBlock
	}
	d.h().Rearm(writable) // re-arm for the next error
	if to == nil {
		return 0, sendFailure(d, sys.CallError("sendto", e), nil)
	}
	return 0, sendFailure(d, sys.AddressError("sendto", e, to), to)
}

func sendFailure(d *Descriptor, err error, to *sys.Sockaddr) error {
	err = d.opError("write", err)
	if to == nil {
		return err
	}
	return withDestination(err, d.h().Kind().NetAddr(to))
}

// A Message is one datagram of a batch, for ReadBatch and WriteBatch.
type Message struct {
	// Data holds the bytes to send, or is the buffer to receive into.
	Data []byte
	// N is the number of bytes received into Data. WriteBatch ignores it.
	N int
	// Addr is the sender of a received datagram, or the destination of one to send. As a
	// destination, the zero AddrPort means the socket's peer.
	Addr netip.AddrPort
	// Truncated reports that the received datagram was longer than Data.
	Truncated bool
}

var batches = sync.Pool{New: func() any { return new(sys.Batch) }}

// ReadBatch receives up to len(ms) datagrams, by one system call per 64 datagrams (recvmmsg(2); on
// systems other than Linux, per datagram). It returns how many it has received, or ErrWouldBlock if
// there are none. It sets N, Addr and Truncated of each received Message; ErrTruncated is not
// returned.
//
// Fewer than len(ms) do not mean that the socket is drained: an asynchronous error, such as a
// peer's refusal of a datagram that was sent before, ends the call early. The next call may return
// that error. With an Edge registration, read until ErrWouldBlock, also after other errors.
func (u *UDPSocket) ReadBatch(ms []Message) (int, error) {
	fd, ok := u.h().Use()
	if !ok {
		return 0, u.opError("read", net.ErrClosed)
	}
	b := batches.Get().(*sys.Batch)
	n, e := readBatch(fd, b, ms)
	batches.Put(b)
	u.h().Done()
	switch {
	case e == 0 || n > 0:
		if n < len(ms) {
			u.h().Rearm(readable)
		}
		return n, nil
	case sys.WouldBlock(e):
		u.h().Rearm(readable)
		return 0, ErrWouldBlock
	}
	u.h().Rearm(readable) // as in readFrom
	return 0, u.callError("read", "recvmmsg", e)
}

func readBatch(fd sys.FD, b *sys.Batch, ms []Message) (total int, e syscall.Errno) {
	for total < len(ms) {
		part := ms[total:min(len(ms), total+sys.MaxBatch)]
		for i := range part {
			b.Set(i, part[i].Data, nil)
		}
		n, e := sys.RecvMMsg(fd, b, len(part))
		for i := range n {
			length, truncated, from := b.Result(i)
			part[i].N, part[i].Truncated, part[i].Addr = length, truncated, from.AddrPort()
		}
		b.Clear(len(part))
		total += n
		if e != 0 || n < len(part) {
			return total, e
		}
	}
	return total, 0
}

// WriteBatch sends the datagrams in turn, by one system call per 64 datagrams (sendmmsg(2); on
// systems other than Linux, per datagram). It returns how many it has sent. If those are fewer than
// len(ms), it also returns the error of the next datagram, as WriteTo and Write do.
func (u *UDPSocket) WriteBatch(ms []Message) (int, error) {
	fd, ok := u.h().Use()
	if !ok {
		return 0, u.opError("write", net.ErrClosed)
	}
	b := batches.Get().(*sys.Batch)
	n, e, bad := u.writeBatch(fd, b, ms)
	batches.Put(b)
	u.h().Done()
	switch {
	case bad:
		return n, &net.OpError{Op: "write", Net: "udp", Addr: net.UDPAddrFromAddrPort(ms[n].Addr), Err: badAddr(ms[n].Addr, u.family)}
	case e == 0:
		return n, nil
	case sys.WouldBlock(e):
		u.h().Rearm(writable)
		return n, ErrWouldBlock
	}
	u.h().Rearm(writable) // as in writeTo
	to := ms[n].Addr
	if !to.IsValid() {
		return n, u.callError("write", "sendmmsg", e)
	}
	var a sys.Sockaddr
	a.SetAddrPort(to, u.family)
	return n, withDestination(u.opError("write", sys.AddressError("sendmmsg", e, &a)), net.UDPAddrFromAddrPort(to))
}

// writeBatch returns bad if it stopped at an address that is invalid for the socket.
func (u *UDPSocket) writeBatch(fd sys.FD, b *sys.Batch, ms []Message) (total int, e syscall.Errno, bad bool) {
	for total < len(ms) {
		part := ms[total:min(len(ms), total+sys.MaxBatch)]
		ready := 0
		for ready < len(part) {
			var to *sys.Sockaddr
			if m := &part[ready]; m.Addr.IsValid() {
				to = new(sys.Sockaddr)
				if !to.SetAddrPort(m.Addr, u.family) {
					break
				}
			}
			b.Set(ready, part[ready].Data, to)
			ready++
		}
		bad = ready < len(part)
		n := 0
		for n < ready && e == 0 {
			var k int
			k, e = sys.SendMMsg(fd, b, n, ready)
			n += k
		}
		b.Clear(ready)
		total += n
		if e != 0 || bad {
			return total, e, bad && e == 0
		}
	}
	return total, 0, false
}
